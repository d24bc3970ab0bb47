"""The notebooks: each pair says the same, and each runs at smoke size."""

import os
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="comes with pathjax[test-all]")
nbformat = pytest.importorskip("nbformat", reason="comes with pathjax[test-all]")

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
# What each has to show: words in its output, and how many pictures.
SHOWN = {
    "01_quickstart": ("mean delta", 2),
    "02_adapt_a_foundation_model": ("lora (delta)", 0),
    "03_probe_and_table": ("regression", 2),
    "04_text_and_modalities": ("fitted_on: cohort:finetune", 2),
    "05_virtual_expression": ("AnnData object", 2),
}


def cells(book):
    return [(cell.cell_type, cell.source) for cell in book.cells]


def test_all_are_here():
    assert sorted(SHOWN) == NAMES == sorted(p.stem for p in FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_says_the_same(name):
    """After a change: jupytext --sync notebooks/*.py"""
    text = jupytext.read(FOLDER / f"{name}.py")
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert cells(text) == cells(book)
    assert not any(cell.get("outputs") for cell in book.cells)
    assert book.metadata["jupytext"]["formats"] == "ipynb,py:percent"


def test_all_begin_alike():
    firsts = set()
    for name in NAMES:
        code = [
            c
            for c in jupytext.read(FOLDER / f"{name}.py").cells
            if c.cell_type == "code"
        ]
        firsts.add(code[0].source)
    assert len(firsts) == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, folder, monkeypatch):
    """In one folder one after the other: what is there already is not made again."""
    from nbclient import NotebookClient

    monkeypatch.setenv("PATHJAX_SMOKE", "1")
    monkeypatch.setenv("XLA_FLAGS", "")  # as in the README's tests
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        book, timeout=600, kernel_name="python3", resources=resources
    ).execute()
    outputs = [one for cell in book.cells for one in cell.get("outputs", [])]
    text = "".join(
        str(one.get("text", "")) + str(one.get("data", {}).get("text/markdown", ""))
        for one in outputs
    )
    pictures = sum("image/png" in one.get("data", {}) for one in outputs)
    words, wanted = SHOWN[name]
    assert words in text and pictures >= wanted
    assert "JAX" in text and os.environ["PATHJAX_SMOKE"]
