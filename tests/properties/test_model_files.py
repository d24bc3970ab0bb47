"""Model files given to `pathjax predict` and `embed`: used whole, or refused plainly."""

import json

import pytest
from damage import ODD_TEXT, cut, damaged_json, examples, run, table_bytes
from hypothesis import given
from made_model import made_model
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from pathjax.models.model_file import save_model

GENES = (
    ["gene", "slide", "n", "r", "measured_mean"],
    [["G001", "a", "10", "0.4", "1"], ["G002", "a", "10", "", "1"]],
)


@pytest.fixture(scope="module")
def model(tiny_study, tmp_path_factory):
    """A regression model's file."""
    folder = tmp_path_factory.mktemp("model")
    return save_model(folder, made_model(tiny_study, "regression"))


def predict(study, model, out, *more):
    words = ["--out", out, "--split", "main", "--fold", "test", "--overwrite", *more]
    return run("predict", model, study.root, *words)


@pytest.mark.slow
def test_headers(tiny_study, model, tmp_path_factory):
    with safe_open(model, "numpy") as file:
        header = json.loads(file.metadata()["pathjax"])
    tensors = load_file(model)

    @examples(12)
    @given(value=damaged_json(header))
    def check(value):
        folder = tmp_path_factory.mktemp("headers")
        path = folder / "m.safetensors"
        save_file(tensors, path, metadata={"pathjax": json.dumps(value)})
        done = predict(tiny_study, path, folder / "out")
        assert (folder / "out" / "predicted.h5ad").exists() == (done.status == 0)
        run("embed", path, tiny_study.root, "--out", folder / "e.h5")

    check()


def test_bytes(tiny_study, model, tmp_path):
    @examples(12)
    @given(content=cut(model.read_bytes()))
    def check(content):
        path = tmp_path / "m.safetensors"
        path.write_bytes(content)
        done = run("embed", path, tiny_study.root, "--out", tmp_path / "e.h5")
        (tmp_path / "e.h5").unlink(missing_ok=True)
        assert done.status == 0 or content != model.read_bytes()

    check()


@examples(8)
@given(content=table_bytes(*GENES))
def test_validation_tables(tiny_study, model, tmp_path, content):
    path = tmp_path / "genes.csv"
    path.write_bytes(content)
    predict(tiny_study, model, tmp_path / "out", "--validation", path)


@examples(6)
@given(genes=ODD_TEXT)
def test_gene_names(tiny_study, model, tmp_path, genes):
    done = predict(tiny_study, model, tmp_path / "out", f"--genes={genes}")
    assert done.status == 1  # none of these is a gene
