"""Heat maps: JSON with `rows`, `columns` and `cells`, as a modality-by-target result.

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


def is_grid(content: Any) -> bool:
    """Whether JSON is one."""
    return isinstance(content, dict) and all(
        isinstance(content.get(key), list) for key in ("rows", "columns", "cells")
    )


def read_grid(path: Path) -> dict[str, Any]:
    """A section's data.

    Raises:
      ValueError: no such content, or cells of rows or columns that are not named.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not is_grid(content):
        raise ValueError(f"{path} lacks rows, columns or cells (lists)")
    rows, columns = ([str(one) for one in content[key]] for key in ("rows", "columns"))
    cells, wrong = [], []
    for cell in content["cells"]:
        row, column = str(cell.get("row")), str(cell.get("column"))
        if row not in rows or column not in columns:
            wrong.append(f"({row}, {column})")
            continue
        numbers = {key: rounded(cell[key]) for key in NUMBERS if key in cell}
        words = {key: cell[key] for key in ("n", "metric") if key in cell}
        cells.append({"row": row, "column": column, **numbers, **words})
    if wrong:
        raise ValueError(f"{path} has cells of no row or column: {', '.join(wrong)}")
    title = str(content.get("title") or path.stem)
    return {"title": title, "rows": rows, "columns": columns, "cells": cells}
