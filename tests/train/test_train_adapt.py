"""Fine-tuning a given model: what each mode changes, and what the file holds after."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict
from tiny_study import config_for

from pathjax.config import ConfigError, resolve
from pathjax.models.model_file import Model, load_model, save_model
from pathjax.models.vit import ViT, vit_config
from pathjax.train.telemetry.metric_writer import read_metrics
from pathjax.train.trainer import train

# A public model in small: another grid than the images', LayerScale, registers.
PUBLIC = vit_config(
    "Xs/8",
    image_px=32,
    depth=3,
    width=24,
    heads=3,
    mlp_dim=32,
    registers=2,
    layerscale=0.1,
    mean=(0.7, 0.6, 0.7),
)
FOUNDATION = {"name": "uni", "licence": "CC-BY-NC-ND-4.0", "share_derivatives": False}


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    params = ViT(PUBLIC).init(jax.random.key(5), np.zeros((1, 8, 8, 3)))["params"]
    meta = {"audit": [], "image_px": 16, "foundation": FOUNDATION}
    meta["objective"] = {"name": "imported"}
    save_model(folder, Model({"vit": jax.device_get(params)}, PUBLIC, meta))
    return folder


def config_of(study, public, mode, model=None, **values):
    given = {
        "init": str(public),
        "adapt.mode": mode,
        "adapt.blocks": 1,
        "adapt.targets": ("qkv", "fc2"),
        "optim.steps": 3,
        "optim.warmup": 0,
    }
    config = config_for(study, **(given | values))
    config.model = ConfigDict({"variant": ""} | (model or {}))
    return config


def tune(study, workdir, *args, **values):
    return load_model(train(config_of(study, *args, **values), workdir).model)


def changed(model, public):
    """Paths of the encoder that differ from the base's."""
    before = flatten_dict(load_model(public).params["vit"], sep="/")
    after = flatten_dict(model.params["vit"], sep="/")
    assert before.keys() == after.keys()
    return {path for path in before if not np.array_equal(before[path], after[path])}


@pytest.mark.slow
def test_full_changes_everything_and_keeps_the_grid(tiny_study, tmp_path, public):
    model = tune(
        tiny_study,
        tmp_path / "run",
        public,
        "full",
        **{"optim.layer_decay": 0.5},
    )
    assert model.vit == PUBLIC
    assert "pos_embed" in changed(model, public)
    assert model.meta["foundation"] == FOUNDATION
    (seen,) = model.meta["audit"]
    assert seen["objective"] == "contrastive"


@pytest.fixture(scope="module")
def last(tiny_study, tmp_path_factory, public):
    """Fine-tuned in its last block."""
    workdir = tmp_path_factory.mktemp("last") / "run"
    return tune(tiny_study, workdir, public, "last", **{"optim.steps": 4})


@pytest.mark.slow
def test_last_changes_one_block(public, last):
    found = changed(last, public)
    assert {path.split("/")[0] for path in found} == {"blocks_2", "norm"}


@pytest.mark.parametrize("scan", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_lora_is_merged_into_its_targets(tiny_study, tmp_path, public, scan):
    layout = {"scan": scan, "remat": scan}
    model = tune(tiny_study, tmp_path / "run", public, "lora", layout)
    assert model.vit == PUBLIC
    assert changed(model, public) == {
        f"blocks_{i}/{linear}/kernel"
        for i in range(3)
        for linear in ("attn/qkv", "mlp/fc2")
    }


@pytest.mark.slow
def test_towers_learn_from_cached_embeddings(tiny_study, tmp_path, public):
    model = tune(tiny_study, tmp_path / "run", public, "towers", val_fold="val",
                 **{"eval.every": 2})  # fmt: skip
    assert changed(model, public) == set()
    assert "expression_head" in model.params and model.vit == PUBLIC
    assert (tmp_path / "run" / "embeddings.h5").is_file()
    with pytest.raises(ConfigError, match="set init"):
        tune(tiny_study, tmp_path / "none", "", "towers")


def interrupt(done, note=""):
    if done == 3:
        raise KeyboardInterrupt


def distance(model, public):
    """How far the encoder is from the base's, over all parameters."""
    before, after = (
        flatten_dict(one.params["vit"]) for one in (load_model(public), model)
    )
    return np.sqrt(sum(((after[path] - before[path]) ** 2).sum() for path in before))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["last", "lora"])
def test_an_anchor_keeps_the_encoder_close(tiny_study, tmp_path, public, mode, last):
    free = last
    if mode != "last":
        free = tune(tiny_study, tmp_path / "free", public, mode, **{"optim.steps": 4})
    anchor = {"anchor.weight": 1000.0, "anchor.patches": 1.0, "optim.steps": 4}
    held = tune(tiny_study, tmp_path / "held", public, mode, **anchor)
    assert 0 < distance(held, public) < distance(free, public)
    assert held.params.keys() == free.params.keys()
    assert held.meta["objective"] == free.meta["objective"]
    halted = tmp_path / "halted"
    with pytest.raises(KeyboardInterrupt):
        train(config_of(tiny_study, public, mode, **anchor), halted, interrupt)
    resumed = tune(tiny_study, halted, public, mode, **anchor)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, held.params)


def test_an_anchor_needs_a_start_and_images(tiny_study, public):
    for mode, values, message in (
        ("towers", {}, "anchor.weight is for an encoder that is trained"),
        ("full", {"init": ""}, "anchor.weight keeps a model close to its start"),
        (
            "full",
            {"objective.name": "dino"},
            "no loss beside its own: set anchor.weight=0",
        ),
    ):
        config = config_of(tiny_study, public, mode, **{"anchor.weight": 1.0, **values})
        with pytest.raises(ConfigError, match=message):
            resolve(config)


DISTILLED = {
    "self_distillation.weight": 0.5,
    "self_distillation.prototypes": 16,
    "self_distillation.hidden": 16,
    "self_distillation.bottleneck": 8,
    "multicrop.local_crops": 1,
    "multicrop.local_px": 8,
    "optim.steps": 4,
}


@pytest.mark.slow
def test_self_distillation_resumes_bit_for_bit(tiny_study, tmp_path, public):
    values = DISTILLED | {"anchor.weight": 1.0, "val_fold": "val", "eval.every": 2}
    whole = tune(tiny_study, tmp_path / "whole", public, "lora", **values)
    halted = tmp_path / "halted"
    with pytest.raises(KeyboardInterrupt):
        train(config_of(tiny_study, public, "lora", **values), halted, interrupt)
    resumed = tune(tiny_study, halted, public, "lora", **values)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    assert "self_distillation" not in whole.params
    logged = set().union(*read_metrics(halted / "metrics.jsonl"))
    assert {"train/self_distillation", "train/anchor", "val/loss"} <= logged
    assert "val/self_distillation" not in logged


def test_self_distillation_needs_an_encoder_that_is_trained_on_images(
    tiny_study, public
):
    for mode, values, message in (
        ("towers", {}, "self_distillation.weight is for an encoder that is trained"),
        ("full", {"objective.name": "dino"}, "set self_distillation.weight=0"),
        (
            "full",
            {"self_distillation.weight": -1.0},
            "weight=-1.0: expected at least 0",
        ),
    ):
        config = config_of(tiny_study, public, mode, **(DISTILLED | values))
        with pytest.raises(ConfigError, match=message):
            resolve(config)


@pytest.mark.slow
def test_an_adapted_stack_in_parts_resumes_bit_for_bit(tiny_study, tmp_path, public):
    model = {"scan": True, "drop_path": 0.2, "dtype": "bfloat16"}
    parts = {"optim.accumulate": 2, "data.batch": 16, "optim.steps": 4}
    args = (public, "lora", model)
    whole = tune(tiny_study, tmp_path / "whole", *args, **parts)

    halted = tmp_path / "halted"
    with pytest.raises(KeyboardInterrupt):
        train(config_of(tiny_study, *args, **parts), halted, interrupt)
    resumed = tune(tiny_study, halted, *args, **parts)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
