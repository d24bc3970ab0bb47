"""Files that the page shows: embeddings, heat maps, spot maps, against NumPy."""

import json

import numpy as np
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
    path.write_text("X;Y;id\n1,5;2;a\n2;3;b\n", "utf-16")
    assert kind_of(path) == "points"
    assert read_points(path)["x"] == [1.5, 2]


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


def test_one_kind_alone_and_a_constant_gene_have_no_r(tmp_path):
    path = tmp_path / "spots.json"
    genes = {
        "NA": {"predicted": [1, 2, 3]},
        "A": {"measured": [1, 1, 1], "predicted": [1, 2, 3]},
        "B": {"measured": [1, None, 2], "predicted": [2, 9, 4]},
    }
    path.write_text(json.dumps({"slides": {"C5": slide(genes=genes)}}), "utf-8")
    (got,) = read_maps(path)
    assert got["genes"][0] == {"gene": "NA", "r": None, "predicted": [1, 2, 3]}
    assert [gene["r"] for gene in got["genes"]] == [None, None, 1]
    assert got["genes"][2]["measured"] == [1, None, 2]
