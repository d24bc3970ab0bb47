"""A small run's steps, compiled here for the eight simulated devices."""

import jax
import pytest

from pathjax.config import load
from pathjax.parallel.hardware import parse_target
from pathjax.parallel.mesh import MeshError
from pathjax.plan.inputs import Sizes
from pathjax.plan.memory import device_bytes
from pathjax.plan.steps import build, plan_steps

SMOKE = "configs/tcga.py:contrastive,smoke"
CPU = parse_target("cpu:8")
SMALL = {"model.depth": 3, "model.drop_path": 0.0}


def train(**changes):
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    (step,) = plan_steps(
        load(SMOKE, SMALL | changed), CPU, jax.devices(), steps=["train"]
    )
    return step


@pytest.fixture(scope="module")
def plain():
    return train()


@pytest.mark.slow
def test_a_scanned_encoder_is_planned_like_an_unrolled_one(plain):
    scanned = train(model__scan=True)
    assert plain.exact and scanned.exact
    assert scanned.flops == plain.flops == plain.model_flops
    remat = train(model__scan=True, model__remat=True)
    assert remat.model_flops == plain.flops < remat.flops


def test_arguments_are_the_state_and_the_batch(plain):
    config = load(SMOKE, SMALL)
    program, _ = build(config, jax.devices(), Sizes())
    state, shardings = program.make_state(jax.random.key(0))
    abstract, same = program.abstract_state()
    assert jax.tree.map(lambda a: (a.shape, a.dtype, a.sharding), state) == (
        jax.tree.map(lambda a: (a.shape, a.dtype, a.sharding), abstract)
    )
    assert shardings == same
    kinds = plain.memory.kinds
    assert kinds["parameters"] == device_bytes(abstract.params)
    # Adam's two moments, and two counters.
    assert kinds["optimiser"] == 2 * kinds["parameters"] + 8
    # 2 tiles of 32 x 32 uint8, 8 genes, a mask, a pair.
    assert kinds["batch"] == 2 * 32 * 32 * 3 + 8 * 4 + 1 + 4
    assert sum(kinds.values()) <= plain.memory.arguments <= sum(kinds.values()) + 64


def test_the_encoder_s_gradient_is_reduced_over_all_devices(plain):
    reduced = [one for one in plain.collectives if one.kind == "all-reduce"]
    program, _ = build(load(SMOKE, SMALL), jax.devices(), Sizes())
    encoder = program.abstract_state()[0].params["vit"]
    assert sum(one.size for one in reduced) >= device_bytes(encoder)
    assert {one.group for one in reduced} == {8}


def test_invalid_configs_are_errors_before_compilation():
    with pytest.raises(MeshError, match=r"data.batch=12 .* use 8 or 16"):
        train(data__batch=12)
    with pytest.raises(MeshError, match="mesh.fsdp"):
        train(mesh__fsdp=3)
    with pytest.raises(ValueError, match="does not divide into heads"):
        train(model__heads=7)
