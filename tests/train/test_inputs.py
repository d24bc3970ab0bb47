"""What a run reads: its encoder, negatives and the scale of its tiles."""

import dataclasses

import numpy as np
import pytest
from partial import withhold
from tiny_study import config_for

from pathjax.config import ConfigError, RunConfig
from pathjax.models.model_file import Model
from pathjax.models.vit import vit_config
from pathjax.train.export import finish
from pathjax.train.inputs import (
    read_inputs,
    require_negatives,
    require_negatives_in_batches,
    require_same_scale,
)
from pathjax.train.program import example_batch

PUBLIC = vit_config("S/14", image_px=518, registers=4, no_embed_class=True)
MODEL = Model({"vit": {"cls_token": np.zeros(3)}}, PUBLIC, {})


def config_of(changes=(), **model):
    values = RunConfig().to_dict()
    values["data"]["image_px"] = 224
    values["model"] = {"variant": ""} | model
    for section, part in dict(changes).items():
        values[section] |= part
    return RunConfig.from_dict(values)


def test_the_encoder_of_init_keeps_its_grid():
    config = config_of(drop_path=0.1, dtype="bfloat16", scan=True)
    encoder = config.encoder(MODEL)
    assert encoder == PUBLIC.replace(drop_path=0.1, dtype="bfloat16", scan=True)
    assert encoder.image_px == 518


def test_a_variant_has_the_grid_of_the_images():
    encoder = config_of(variant="S/16").encoder(MODEL)
    assert encoder == vit_config("S/16", image_px=224)


def test_adapters_come_from_the_section_adapt():
    adapt = {"mode": "lora", "rank": 4, "targets": ("qkv",)}
    lora = config_of({"adapt": adapt}).encoder(MODEL).lora
    assert (lora.rank, lora.targets) == (4, ("qkv",))


def test_an_encoder_that_does_not_fit():
    with pytest.raises(ConfigError, match=r"key 'model.widht'; did you mean 'width'"):
        config_of(widht=3).encoder(MODEL)
    with pytest.raises(ConfigError, match="multiple of the encoder's patch, 14.*252"):
        config_of({"data": {"image_px": 256}}).encoder(MODEL)


def test_a_frozen_encoder_is_exported_from_init():
    head = {"head": {"kernel": np.ones(2)}}
    vit, params = finish(PUBLIC.replace(drop_path=0.2), head, MODEL)
    assert vit == PUBLIC
    assert params["vit"] is MODEL.params["vit"] and "head" in params


def test_a_fold_without_negatives_is_refused():
    """The spots of one patient, paired by patient, are all each other's positives."""
    require_negatives(RunConfig(), "train", np.array([0, 0, 1]))
    with pytest.raises(ConfigError, match="needs negatives.*data.pair_by=sample_id"):
        require_negatives(RunConfig(), "train", np.zeros(3, int))


def test_validation_batches_without_negatives(caplog):
    """Spots in the study's order: a small batch holds those of one patient."""
    spots = np.repeat(np.arange(4), 8)
    require_negatives_in_batches("val", spots, 16)
    assert caplog.text == ""
    uneven = np.repeat(np.arange(3), [4, 4, 12])
    require_negatives_in_batches("val", uneven, 7)
    assert "1 of 3 validation batches" in caplog.text
    with pytest.raises(ConfigError, match="within any of its 4 .* raise data.batch"):
        require_negatives_in_batches("val", spots, 8)


def test_tiles_have_the_size_that_the_model_resizes_to(tiny_study):
    """The small study's tiles are 32 px."""
    config = dataclasses.replace(config_of({"data": {"image_px": 24}}), init="uni")

    def check(**preprocess):
        meta = {"preprocess": preprocess} if preprocess else {}
        require_same_scale(config, tiny_study, Model({}, PUBLIC, meta))

    check()
    check(resize=32, crop=24, interpolation="bilinear")
    with pytest.raises(ConfigError) as caught:
        check(resize=48, crop=40, interpolation="bilinear")
    assert "build the study with tiles of 48 px" in str(caught.value)
    assert "set data.image_px=40" in str(caught.value)


def test_batches_say_what_was_measured_where_samples_differ(
    tiny_study, tmp_path, monkeypatch
):
    whole = tiny_study.expression()
    partial = withhold(whole, ["P01"], whole.var_names[:15])
    (tmp_path / "genes.txt").write_text("\n".join(whole.var_names[12:18]) + "\n")
    genes = {"data.gene_list": str(tmp_path / "genes.txt"), "data.genes": 0}
    config = RunConfig.from_dict(config_for(tiny_study, **genes).to_dict())
    assert not read_inputs(config).objective.spec.partial
    monkeypatch.setattr(type(tiny_study), "expression", lambda self: partial)
    made = read_inputs(config)
    assert made.objective.spec.partial and "measured" in made.objective.requires
    assert not made.training_fold().measured[1].all()
    assert set(example_batch(config, made.objective)) >= {"measured", "expression"}
