"""The encoder of a run: a variant, or that of the model it starts from."""

import dataclasses

import numpy as np
import pytest

from pathjax.config import ConfigError, base_config
from pathjax.data.samples import gather
from pathjax.models.model_file import Model
from pathjax.models.vit import vit_config
from pathjax.train.setup import (
    encoder_config,
    make_finish,
    require_negatives,
    require_same_scale,
)

PUBLIC = vit_config("S/14", image_px=518, registers=4, no_embed_class=True)
MODEL = Model({"vit": {"cls_token": np.zeros(3)}}, PUBLIC, {})


def config_of(**model):
    config = base_config()
    config.data.image_px = 224
    config.model.update({"variant": ""} | model)
    return config


def test_the_encoder_of_init_keeps_its_grid():
    config = config_of(drop_path=0.1, dtype="bfloat16", scan=True)
    found = encoder_config(config, MODEL)
    assert found == PUBLIC.replace(drop_path=0.1, dtype="bfloat16", scan=True)
    assert found.image_px == 518


def test_a_variant_has_the_grid_of_the_images():
    found = encoder_config(config_of(variant="S/16"), MODEL)
    assert found == vit_config("S/16", image_px=224)


def test_adapters_come_from_the_section_adapt():
    config = config_of()
    config.adapt.update({"mode": "lora", "rank": 4, "targets": ("qkv",)})
    lora = encoder_config(config, MODEL).lora
    assert (lora.rank, lora.targets) == (4, ("qkv",))


def test_what_does_not_fit():
    with pytest.raises(ConfigError, match=r"model.widht: no such field.*width"):
        encoder_config(config_of(widht=3), MODEL)
    config = config_of()
    config.data.image_px = 256
    with pytest.raises(ConfigError, match="multiple of the encoder's patch, 14.*252"):
        encoder_config(config, MODEL)


def test_a_frozen_encoder_comes_back_at_the_end():
    finish = make_finish(PUBLIC.replace(drop_path=0.2), MODEL)
    vit, params = finish({"head": {"kernel": np.ones(2)}})
    assert vit == PUBLIC
    assert params["vit"] is MODEL.params["vit"] and "head" in params


def test_one_patient_has_nothing_to_contrast(tiny_study):
    """The spots of one patient, paired by patient, are all each other's positives."""
    config = base_config()
    samples = gather(tiny_study, "main", "train")
    require_negatives(config, samples)
    alone = dataclasses.replace(samples, pair_id=np.zeros_like(samples.pair_id))
    with pytest.raises(ConfigError, match="set data.pair_by=sample_id"):
        require_negatives(config, alone)
    config.objective.name = "regression"
    require_negatives(config, alone)


def test_tiles_have_the_size_that_the_model_resizes_to(tiny_study):
    """The small study's tiles are 32 px."""
    config = base_config()
    config.init, config.data.image_px = "uni", 24

    def check(**preprocess):
        meta = {"preprocess": preprocess} if preprocess else {}
        require_same_scale(config, tiny_study, Model({}, PUBLIC, meta))

    check()
    check(resize=32, crop=24, interpolation="bilinear")
    with pytest.raises(ConfigError) as caught:
        check(resize=48, crop=40, interpolation="bilinear")
    assert "build the study with tiles of 48 px" in str(caught.value)
    assert "set data.image_px=40" in str(caught.value)
