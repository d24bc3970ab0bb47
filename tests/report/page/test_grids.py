"""Heat maps as the page takes them."""

import json

import pytest

from pathjax.report.page.grids import is_grid, read_grids


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
    with pytest.raises(ValueError, match="lacks rows, columns or cells"):
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
