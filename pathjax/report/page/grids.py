"""Heat maps: `results.json` of `pathjax modalities`, or JSON with rows, columns, cells.

    {"title": "...", "rows": ["slide", ...], "columns": ["TP53", ...],
     "cells": [{"row": "slide", "column": "TP53", "value": 0.7, "low": 0.6, "high": 0.8,
                "chance": 0.5, "n": 312, "metric": "auroc"}, ...]}

`low`, `high`, `chance`, `n` and `metric` may be missing. Numbers are fractions.
"""

import json
from pathlib import Path
from typing import Any

from pathjax.report.page.rounded import rounded

NUMBERS = ("value", "low", "high", "chance")
SAMPLES = {
    "common": "on the samples that have all modalities",
    "all": "on all samples that have the modality",
}


def is_grid(content: Any) -> bool:
    """Whether JSON is of either kind."""
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        return False
    return _is_modalities(content) or all(
        isinstance(content.get(key), list) for key in ("rows", "columns")
    )


def _is_modalities(content: dict[str, Any]) -> bool:
    return str(content.get("protocol")).startswith("modalities/")


def read_grids(path: Path) -> list[dict[str, Any]]:
    """A heat map, or one for each metric and set of samples of a modality matrix.

    Returns:
      Records of `title`, `rows`, `columns` (names) and `cells`.

    Raises:
      ValueError: no such content, or cells of rows or columns that are not named.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not is_grid(content):
        raise ValueError(f"{path} lacks rows, columns or cells (lists)")
    if _is_modalities(content):
        return _of_modalities(content)
    rows, columns = ([str(one) for one in content[key]] for key in ("rows", "columns"))
    cells, wrong = [], []
    for cell in content["cells"]:
        row, column = str(cell.get("row")), str(cell.get("column"))
        if row in rows and column in columns:
            cells.append(_cell(row, column, cell))
        else:
            wrong.append(f"({row}, {column})")
    if wrong:
        raise ValueError(f"{path} has cells of no row or column: {', '.join(wrong)}")
    title = str(content.get("title") or path.stem)
    return [{"title": title, "rows": rows, "columns": columns, "cells": cells}]


def _cell(row: str, column: str, cell: dict[str, Any]) -> dict[str, Any]:
    numbers = {key: rounded(cell[key]) for key in NUMBERS if key in cell}
    words = {key: cell[key] for key in ("n", "metric") if key in cell}
    return {"row": row, "column": column, **numbers, **words}


def _of_modalities(content: dict[str, Any]) -> list[dict[str, Any]]:
    cells: dict[tuple[str, str], list] = {}
    for one in content["cells"]:
        for metric, score in one["scores"].items():
            # Which metric is in the title; the cells of one map have no other.
            cell = _cell(
                " + ".join(one["modalities"]), one["target"], {**score, "n": one["n"]}
            )
            cells.setdefault((one["rows"], metric), []).append(cell)
    made = " SYNTHETIC." if content.get("synthetic") else ""
    return [
        {
            "title": f"{content.get('cohort', '')}: {metric.replace('_', ' ')}, "
            f"{SAMPLES.get(samples, samples)}.{made}",
            "rows": list(dict.fromkeys(cell["row"] for cell in own)),
            "columns": list(dict.fromkeys(cell["column"] for cell in own)),
            "cells": own,
        }
        for (samples, metric), own in cells.items()
    ]
