"""Files that the page shows: embeddings, heat maps, spot maps, against NumPy."""

import json

import numpy as np
import pandas as pd
import pytest

from pathjax.report.page.files import (
    MOST_CLASSES,
    NO_LABEL,
    is_grid,
    kind_of,
    read_grids,
    read_maps,
    read_points,
)


def test_only_the_first_lines_are_notes(tmp_path):
    path = tmp_path / "a.csv"
    text = "\ufeff# a note\n# x,y\nid,x,y\n#7,1,2\n#2,3,4\n"
    path.write_text(text, encoding="utf-8")
    assert kind_of(path) == "points"
    assert read_points(path)["id"] == ["#7", "#2"]


def test_spellings_of_spreadsheets(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("X;Y;gene;Measured\n1,5;2;TP53;0,5\n2;3;TP53;NA\n", "utf-16")
    assert kind_of(path) == "maps"
    (found,) = read_maps(path)
    assert (found["x"], found["genes"][0]["measured"]) == ([1.5, 2], [0.5, None])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2,A,3\n1,2,A,4\n", "line 3: A is there twice at this spot"),
        ("1,2,A,high\n", "line 2: measured is 'high', expected a number"),
        ("1,2,A\n", "line 2: 3 cells for 4 columns"),
    ],
)
def test_rows_of_a_map_that_cannot_be_used_are_named(tmp_path, rows, message):
    path = tmp_path / "a.csv"
    path.write_text("x,y,gene,measured\n" + rows)
    with pytest.raises(ValueError, match=message):
        read_maps(path)


@pytest.mark.parametrize("text", ["", "# a note\n", 'a,b\n"1,2\n'])
def test_what_is_no_csv(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    assert kind_of(path) is None
    with pytest.raises(ValueError, match="cannot be read as a CSV table|lacks the col"):
        read_points(path)


def test_classes_are_ordered_by_how_many_there_are(tmp_path):
    path = tmp_path / "tsne.csv"
    path.write_text(
        "# perplexity 30\nx,y,label,id,more\n"
        "0,0,NA,a#1,q\n1,5,lung,b,q\n2,3,lung,c,q\n3,1,,d,q\n,1,lung,e,q\n",
        encoding="utf-8",
    )
    got = read_points(path)
    assert got["classes"][0] == "lung" and set(got["classes"]) == {
        "lung",
        "NA",
        NO_LABEL,
    }
    assert [got["classes"][one] for one in got["label"]] == [
        "NA",
        "lung",
        "lung",
        NO_LABEL,
    ]
    assert got["id"] == ["a#1", "b", "c", "d"]
    assert (got["x"], got["y"]) == ([0, 1, 2, 3], [0, 5, 3, 1])
    assert (got["title"], got["notes"], got["dropped"]) == ("tsne", [], 1)


def test_labels_and_ids_may_be_missing(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("x,y\n0,0\n1,1\n", encoding="utf-8")
    got = read_points(path)
    assert (got["id"], got["classes"], got["label"]) == ([], [NO_LABEL], [0, 0])


@pytest.mark.parametrize(
    ("text", "said"), [("x,z\n1,1\n", "lacks the columns y"), ("x,y\na,b\n", "no row")]
)
def test_points_that_cannot_be_drawn(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_points(path)


def test_numbers_are_a_scale_unless_they_are_few(tmp_path):
    path = tmp_path / "age.csv"
    labels = [*map(str, range(20)), "", NO_LABEL]
    lines = "".join(f"{n},{n},{label}\n" for n, label in enumerate(labels))
    path.write_text("x,y,label\n" + lines, encoding="utf-8")
    got = read_points(path)
    assert got["values"] == [*range(20), None, None] and "classes" not in got
    path.write_text("x,y,label\n0,0,1\n1,1,0\n2,2,1\n", encoding="utf-8")
    assert read_points(path)["classes"] == ["1", "0"]


def test_classes_too_many_to_tell_apart_are_one(tmp_path):
    path = tmp_path / "a.csv"
    names = [f"class {n}" for n in range(60)]
    lines = "".join(f"{n},0,{name}\n" * (60 - n) for n, name in enumerate(names))
    path.write_text("x,y,label\n" + lines, encoding="utf-8")
    got = read_points(path)
    assert got["classes"] == [*names[:39], "(21 other classes)"]
    assert len(got["classes"]) == MOST_CLASSES
    assert got["label"].count(39) == sum(range(1, 22))


def test_the_record_beside_it_gives_title_and_purity(tmp_path):
    path = tmp_path / "tsne.csv"
    path.write_text("x,y,label\n0,0,a\n1,1,b\n", encoding="utf-8")
    purity = {"value": 0.914, "k": 10, "chance": 0.25, "other_patients": True}
    record = {"title": "reports of PRAD", "method": "tsne", "embedding": purity}
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    got = read_points(path)
    assert got["title"] == "reports of PRAD"
    assert got["notes"] == [
        "Agreement with the 10 nearest neighbours in the embedding: 0.91; chance 0.25."
    ]
    path.with_suffix(".json").write_text("[]", encoding="utf-8")
    assert read_points(path)["title"] == "tsne"


def test_numbers_are_rounded_and_the_rest_left_alone(tmp_path):
    path = tmp_path / "modalities.json"
    cell = {"row": "RNA", "column": 53, "value": 0.123456, "n": 7, "metric": "auroc"}
    content = {"rows": ["RNA"], "columns": [53], "cells": [cell], "more": 1}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert is_grid(content)
    (got,) = read_grids(path)
    assert got == {
        "title": "modalities",
        "rows": ["RNA"],
        "columns": ["53"],
        "cells": [{**cell, "column": "53", "value": 0.1235}],
    }


def test_what_is_no_grid(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"rows": [], "columns": []}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.json: the content lacks cells"):
        read_grids(path)
    wrong = {"rows": ["a"], "columns": ["b"], "cells": [{"row": "a", "column": "c"}]}
    path.write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(ValueError, match=r"no row or column: \(a, c\)"):
        read_grids(path)


def test_a_modality_matrix_is_a_map_for_each_metric(tmp_path):
    def cell(modalities, target, rows, **scores):
        scores = {name: {"value": v, "low": 0.1, "high": 0.9, "chance": 0.5} for name, v
                  in scores.items()}  # fmt: skip
        return {"modalities": modalities, "target": target, "rows": rows, "n": 9,
                "scores": scores}  # fmt: skip

    cells = [
        cell(["rna"], "tp53", "common", balanced_accuracy=0.7, auroc=0.8),
        cell(["slide", "rna"], "tp53", "common", balanced_accuracy=0.75, auroc=0.85),
        cell(["rna"], "age", "common", pearson=0.3),
        cell(["rna"], "tp53", "all", auroc=0.81),
    ]
    content = {"protocol": "modalities/1", "cohort": "BRCA", "synthetic": True}
    path = tmp_path / "results.json"
    path.write_text(json.dumps({**content, "cells": cells}), encoding="utf-8")
    got = read_grids(path)
    assert [one["title"] for one in got] == [
        "BRCA: balanced accuracy, on the samples that have all modalities. SYNTHETIC.",
        "BRCA: auroc, on the samples that have all modalities. SYNTHETIC.",
        "BRCA: pearson, on the samples that have all modalities. SYNTHETIC.",
        "BRCA: auroc, on all samples that have the modality. SYNTHETIC.",
    ]
    assert got[1]["rows"] == ["rna", "slide + rna"] and got[1]["columns"] == ["tp53"]
    assert got[1]["cells"][1] == {
        "row": "slide + rna",
        "column": "tp53",
        "value": 0.85,
        "low": 0.1,
        "high": 0.9,
        "chance": 0.5,
        "n": 9,
    }


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


def test_a_header_alone_is_no_points_and_an_empty_map(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y,gene,id,measured\n")
    with pytest.raises(ValueError, match="no row whose x and y are numbers"):
        read_points(path)
    assert read_maps(path)[0]["genes"] == []


def test_a_constant_gene_has_no_r(tmp_path):
    path = tmp_path / "spots.csv"
    path.write_text("x,y,gene,measured,predicted\n0,0,A,1,1\n1,0,A,1,2\n", "utf-8")
    assert read_maps(path)[0]["genes"][0]["r"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x,y,measured\n0,0,1\n", "lacks the columns gene"),
        ("x,y,gene\n0,0,A\n", "lacks the columns measured or predicted"),
        ("x,y,gene,measured\n0,,A,1\n", "x or y is not a number"),
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
        ([], "expected slides to be an object, got "),
        ({"C5": {"x": []}}, r"spots\.json: slides\.C5 lacks y, genes"),
        ({"C5": slide(y=[0, 0])}, "C5 has spots whose x or y"),
        ({"C5": slide(genes={"A": {"measured": [1]}})}, "A does not have one value"),
    ],
)
def test_spots_that_cannot_be_drawn(tmp_path, slides, said):
    path = tmp_path / "spots.json"
    path.write_text(json.dumps({"slides": slides}), encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_maps(path)
