"""Spot maps against NumPy's correlation."""

import json

import numpy as np
import pandas as pd
import pytest

from pathjax.report.page.maps import read_maps


def test_genes_share_their_spots(tmp_path):
    rng = np.random.default_rng(0)
    values = {gene: rng.normal(size=(2, 12)) for gene in ("ERBB2", "FASN")}
    parts = []
    for gene, (measured, predicted) in values.items():
        columns = {"x": np.arange(12) % 4, "y": np.arange(12) // 4, "gene": gene}
        parts.append(
            pd.DataFrame({**columns, "measured": measured, "predicted": predicted})
        )
    shuffled = parts[1].sample(frac=1, random_state=0).iloc[1:]
    lost = (shuffled["y"].to_numpy() * 4 + shuffled["x"].to_numpy()).tolist()
    lost = next(n for n in range(12) if n not in lost)
    path = tmp_path / "spots.csv"
    pd.concat([parts[0], shuffled]).to_csv(path, index=False)
    (got,) = read_maps(path)
    assert got["x"] == [n % 4 for n in range(12)] and got["id"] == []
    first, second = got["genes"]
    assert (first["gene"], second["gene"]) == ("ERBB2", "FASN")
    np.testing.assert_allclose(first["measured"], values["ERBB2"][0], rtol=1e-3)
    assert second["predicted"][lost] is None
    assert first["r"] == pytest.approx(np.corrcoef(*values["ERBB2"])[0, 1], abs=1e-3)
    kept = np.arange(12) != lost
    want = np.corrcoef(*values["FASN"][:, kept])[0, 1]
    assert second["r"] == pytest.approx(want, abs=1e-3)


def test_one_kind_alone_has_no_r(tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text("x,y,gene,id,predicted\n0,0,NA,s1,1\n1,0,NA,NA,2\n", "utf-8")
    (got,) = read_maps(path)
    assert got["id"] == ["s1", "NA"]
    assert got["genes"] == [{"gene": "NA", "r": None, "predicted": [1, 2]}]


def test_a_constant_gene_has_no_r(tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text("x,y,gene,measured,predicted\n0,0,A,1,1\n1,0,A,1,2\n", "utf-8")
    assert read_maps(path)[0]["genes"][0]["r"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,y,measured\n0,0,1\n", "lacks the columns gene"),
        ("x,y,gene\n0,0,A\n", "lacks the columns measured or predicted"),
        ("x,y,gene,measured\n0,,A,1\n", "x or y is no number"),
    ],
)
def test_what_cannot_be_drawn(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_maps(path)


def slide(**changed):
    genes = {"ERBB2": {"measured": [1, 2, 4.00001], "predicted": [1, 3, 2]}}
    return {"sample": list("abc"), "x": [0, 9, 9], "y": [0, 0, 5], "genes": genes,
            **changed}  # fmt: skip


def test_a_map_for_each_slide_of_spots_json(tmp_path):
    path = tmp_path / "spots.json"
    unit = {"measured": "log1p", "predicted": "z"}
    content = {"unit": unit, "slides": {"C5": slide(), "B4": slide(genes={})}}
    path.write_text(json.dumps(content), encoding="utf-8")
    first, second = read_maps(path)
    assert (first["title"], second["title"], second["genes"]) == ("C5", "B4", [])
    assert (first["x"], first["id"], first["unit"]) == ([0, 9, 9], list("abc"), unit)
    (gene,) = first["genes"]
    assert gene["measured"] == [1, 2, 4]
    want = np.corrcoef([1, 2, 4], [1, 3, 2])[0, 1]
    assert gene["r"] == pytest.approx(want, abs=1e-3)


@pytest.mark.parametrize(
    ("slides", "said"),
    [
        ([], "lacks slides"),
        ({"C5": {"x": []}}, "spots.json, C5 lacks y, genes"),
        ({"C5": slide(y=[0, 0])}, "C5 has spots whose x or y"),
        ({"C5": slide(genes={"A": {"measured": [1]}})}, "A has not a value"),
    ],
)
def test_spots_that_cannot_be_drawn(tmp_path, slides, said):
    path = tmp_path / "spots.json"
    path.write_text(json.dumps({"slides": slides}), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_maps(path)
