"""All steps of a run, compiled by TPU's own compiler, against counts by hand."""

import pytest

from pathjax.config import load
from pathjax.parallel.hardware import parse_target
from pathjax.plan.inputs import Sizes
from pathjax.plan.process import target_devices
from pathjax.plan.steps import EMBED_BATCH, plan_steps

pytestmark = pytest.mark.slow

WIDTH, HEADS, MLP, DEPTH, PX, PATCH = 128, 2, 256, 2, 32, 8
TOKENS = (PX // PATCH) ** 2 + 1  # and the class token
PIXELS = PATCH * PATCH * 3
IMAGES = 8 * 2  # of a batch of patients and their tiles
MODEL = {"width": WIDTH, "heads": HEADS, "mlp_dim": MLP, "drop_path": 0.0}

# A multiplication and an addition are two; see docs/planning.md.
EMBED_PATCHES = 2 * (TOKENS - 1) * PIXELS * WIDTH
LINEARS = 2 * TOKENS * (4 * WIDTH * WIDTH + 2 * WIDTH * MLP)
ATTENTION = 2 * 2 * TOKENS * TOKENS * WIDTH
FORWARD = EMBED_PATCHES + DEPTH * (LINEARS + ATTENTION)
# Gradients of both operands; pixels need none.
TRAIN = 3 * FORWARD - EMBED_PATCHES

NORMS, BIASES = 2 * 2 * WIDTH, 3 * WIDTH + WIDTH + MLP + WIDTH
BLOCK = NORMS + 4 * WIDTH * WIDTH + 2 * WIDTH * MLP + BIASES
EMBEDDED = PIXELS * WIDTH + WIDTH + WIDTH + TOKENS * WIDTH
PARAMETERS = EMBEDDED + DEPTH * BLOCK + 2 * WIDTH


@pytest.fixture(autouse=True)
def absent_tpu(monkeypatch):
    pytest.importorskip("libtpu", reason="needs the extra pathjax[plan]")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")


def planned(name, config, **options):
    """The steps of a config for the chips of a target."""
    changes = {f"model.{key}": value for key, value in MODEL.items()}
    target = parse_target(name)
    steps = plan_steps(load(config, changes), target, target_devices(target), **options)
    return {step.name: step for step in steps}


@pytest.mark.parametrize("name", ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"])
def test_all_steps_are_as_large_as_counted_by_hand(name):
    steps = planned(name, "configs/tcga.py:contrastive,smoke")
    train, embedding = steps["train"], steps["embedding"]
    assert embedding.flops == EMBED_BATCH * FORWARD
    # The heads and the loss are the rest.
    assert IMAGES * TRAIN < train.flops < 1.02 * IMAGES * TRAIN
    assert IMAGES * FORWARD < steps["validation"].flops < 1.02 * IMAGES * FORWARD
    assert embedding.memory.kinds["parameters"] == 4 * PARAMETERS
    kinds = train.memory.kinds
    assert 4 * PARAMETERS < kinds["parameters"] < 1.1 * 4 * PARAMETERS
    # Adam's two moments, and two counters.
    assert kinds["optimiser"] == 2 * kinds["parameters"] + 8
    for step in (train, embedding):
        wanted = sum(step.memory.kinds.values())
        padded = 1.2 if step is embedding else 1.02  # images of 3 colours
        assert wanted <= step.memory.arguments <= padded * wanted
    # Each chip fits its own seeds: it sends nothing.
    assert not steps["probe"].collectives and not steps["probe"].exact
    assert all(step.exact for key, step in steps.items() if key != "probe")
    sent = sum(one.moved_bytes for one in train.collectives)
    chips = len(target_devices(parse_target(name)))
    whole = 2 * kinds["parameters"] * (chips - 1) / chips  # an all-reduce in a ring
    assert whole <= sent <= 1.1 * whole


@pytest.mark.parametrize("mode", ["tcga.py:regression", "tcga.py:multimodal"])
def test_the_encoder_counts_alike_under_other_objectives(mode):
    train = train_step(f"configs/{mode},smoke")
    assert IMAGES * TRAIN <= train.flops < 1.02 * IMAGES * TRAIN


def test_self_distillation_compiles():
    assert train_step("configs/demo.py:pretrain,smoke").exact


def train_step(config):
    sizes = Sizes(genes=8, text=16)
    step = planned("v5e:2x2", config, sizes=sizes, steps=["train"])["train"]
    assert {one.group for one in step.collectives} == {4}
    return step
