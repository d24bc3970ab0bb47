"""The demo study's images, expression and reports, any missing, trained end to end."""

import shutil

import numpy as np
import pytest
from extras import need

from pathjax.cli import main
from pathjax.config import ConfigError, load
from pathjax.data.study import Study
from pathjax.data.text_store import TextEmbeddings, read_text, write_text
from pathjax.datasets.demo import build_demo
from pathjax.models.model_file import load_model
from pathjax.train.telemetry.metric_writer import read_metrics
from pathjax.train.trainer import train


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return build_demo(
        folder / "study", patients=40, tiles_per_patient=2, tile_px=64, workers=1
    )


@pytest.fixture(scope="module")
def text(study):
    """Embeddings of half the reports."""
    need("sklearn")
    path = study.root.parent / "text.h5"
    words = ["text", "embed", str(study.root), "--backend", "tfidf", "--dimensions"]
    words += ["8", "--fit-on", "cohort:finetune", "--out", str(path)]
    assert main(words) == 0
    whole = read_text(path)
    half = np.random.default_rng(0).random(len(whole.sample_ids)) < 0.5
    ids = [one for one, kept in zip(whole.sample_ids, half, strict=True) if kept]
    write_text(path, TextEmbeddings(ids, whole.values[half], whole.meta))
    return path


@pytest.fixture(scope="module", autouse=True)
def some_expression():
    """Studies lack the expression of three samples in ten."""
    whole = Study.expression

    def fewer(self):
        table = whole(self)
        kept = np.random.default_rng(1).random(table.n_obs) < 0.7
        return table[kept].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "expression", fewer)
        yield


def run(study, text, workdir, **values):
    config = load(
        "configs/demo.py:multimodal,smoke",
        {"study": str(study.root), "data.text": str(text), "data.genes": 20}
        | {"log.every": 1, "objective.expression_text": 0.5}
        | values,
    )
    return train(config, workdir)


SHARDED = {"objective.chunk": 8, "mesh.fsdp": 2}


@pytest.fixture(scope="module")
def done(study, text, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "run"
    run(study, text, workdir, **SHARDED)
    return workdir


@pytest.mark.slow
def test_half_of_the_text_and_a_third_of_the_expression_missing(done):
    model = load_model(done)
    assert model.meta["text"]["dimensions"] == 8
    assert model.meta["objective"]["text_dim"] == 8
    assert {"text", "text_head", "temperature_image_text"} <= set(model.params)
    rows = read_metrics(done / "metrics.jsonl")
    steps = [row for row in rows if "train/loss" in row]
    assert len(steps) == 6
    for name in ("", "_image_expression", "_image_text", "_expression_text"):
        losses = [row[f"train/loss{name}"] for row in steps]
        assert np.isfinite(losses).all() and any(losses)
    (last,) = (row for row in rows if "val/loss" in row and row["step"] == 6)
    assert 0 <= last["val/recall1_image_to_text"] <= 1


@pytest.mark.slow
def test_other_embeddings_are_another_run(study, text, done, tmp_path):
    run(study, shutil.copy(text, tmp_path / "moved.h5"), done, **SHARDED)
    found = read_text(text)
    other = TextEmbeddings(found.sample_ids, found.values + 0.1, found.meta)
    write_text(tmp_path / "other.h5", other)
    with pytest.raises(ConfigError, match=r"data\.text: 8 values by tfidf .*sha256:"):
        run(study, tmp_path / "other.h5", done, **SHARDED)


@pytest.mark.slow
def test_towers_alone_learn_from_cached_embeddings(study, text, done, tmp_path):
    values = {"init": str(done), "adapt.mode": "towers", "model.variant": ""}
    run(study, text, tmp_path, **values)
    start, end = load_model(done), load_model(tmp_path)
    np.testing.assert_array_equal(
        start.params["vit"]["patch_embed"]["kernel"],
        end.params["vit"]["patch_embed"]["kernel"],
    )
    assert "text_head" in end.params


def test_text_is_for_the_contrastive_objective(study, text):
    wrong = {"study": str(study.root), "data.text": str(text)}
    with pytest.raises(ConfigError, match="regression does not read text"):
        load("configs/demo.py:regression,smoke", wrong)
    with pytest.raises(ConfigError, match=r"unknown option 'objective.text_dim'"):
        load("configs/demo.py:contrastive,smoke", wrong | {"objective.text_dim": 3})
    with pytest.raises(ConfigError, match=r"objective\.chunk=3 .* use 1, 2, 4, 8"):
        load("configs/demo.py:multimodal,smoke", wrong | {"objective.chunk": 3})
