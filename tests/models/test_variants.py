"""Configurations: every mistake is named with what to do."""

import re

import pytest

from pathjax.models.variants import VARIANTS, ViTConfig, vit_config


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_valid_and_hashable(variant):
    config = vit_config(variant)
    assert hash(config) == hash(vit_config(variant))
    assert config.patch == int(variant.split("/")[1])
    assert config.grid * config.patch == config.image_px


def test_overrides():
    config = vit_config("S/16", pool="cls_mean", registers=4)
    assert (config.embed_dim, config.registers) == (768, 4)
    assert config.replace(pool="mean").embed_dim == 384


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(ValueError, match=re.escape("'S/15': try S/16")):
        vit_config("S/15")
    with pytest.raises(ValueError, match=r"'register' \(nearest: registers"):
        vit_config("S/16", register=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_px": 225}, "image_px=225 is no multiple of patch=16: use 224 or 240"),
        ({"image_px": 8}, "use 16"),
        ({"heads": 5}, "width=384 does not divide into heads=5: use 380 or 385"),
        ({"depth": 0}, "depth=0: expected at least 1"),
        ({"registers": -1}, "registers=-1"),
        ({"drop_path": 1.0}, "drop_path=1.0"),
        ({"pool": "max"}, "pool='max': expected one of"),
        ({"mlp": "relu"}, "mlp='relu'"),
        ({"gelu": "fast"}, "gelu='fast'"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"std": (0.5, 0.0, 0.5)}, "std=.*expected positive"),
        ({"mean": (0.5,)}, "mean=.*expected 3 channels"),
    ],
)
def test_what_cannot_be_built(change, message):
    with pytest.raises(ValueError, match=message):
        vit_config("S/16", **change)


def test_all_mistakes_at_once():
    with pytest.raises(ValueError, match=r"depth=0.*pool='max'"):
        ViTConfig(patch=16, width=384, depth=0, heads=6, mlp_dim=1, pool="max")
