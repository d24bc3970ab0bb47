"""Heat maps as the page takes them."""

import json

import pytest

from pathjax.report.page.grids import is_grid, read_grid


def test_numbers_are_rounded_and_the_rest_left_alone(tmp_path):
    path = tmp_path / "modalities.json"
    cell = {"row": "RNA", "column": 53, "value": 0.123456, "n": 7, "metric": "auroc"}
    content = {"rows": ["RNA"], "columns": [53], "cells": [cell], "more": 1}
    path.write_text(json.dumps(content), encoding="utf-8")
    assert is_grid(content)
    assert read_grid(path) == {
        "title": "modalities",
        "rows": ["RNA"],
        "columns": ["53"],
        "cells": [{**cell, "column": "53", "value": 0.1235}],
    }


def test_what_is_no_grid(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"rows": [], "columns": []}', encoding="utf-8")
    with pytest.raises(ValueError, match="lacks rows, columns or cells"):
        read_grid(path)
    wrong = {"rows": ["a"], "columns": ["b"], "cells": [{"row": "a", "column": "c"}]}
    path.write_text(json.dumps(wrong), encoding="utf-8")
    with pytest.raises(ValueError, match=r"no row or column: \(a, c\)"):
        read_grid(path)
