"""Sections made from files: embeddings, heat maps and spot maps.

`kind_of` recognises a file by its content. The formats are in docs/page.md: CSV with
x, y and label or id (points); JSON with rows, columns and cells (grids); `spots.json`
(maps). Every reader raises ValueError when a file has another form.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.data.tables import number, read_header, read_table
from pathjax.files import read_json
from pathjax.report.page.sections import is_audit, rounded, rounded_list

VALUES = ("measured", "predicted")
COLUMNS = ("x", "y")  # others, such as a label, may be words for missing values
# Shapes of JSON, see `files.mismatch`.
NAME = (str, int, float, bool)
VALUE = (float, type(None))
PURITY = {"value": float, "k": int, "chance": float}
TSNE = {"title": str, "embedding?": PURITY, "plane?": PURITY}
GRID_CELL = {
    **dict.fromkeys(("value?", "low?", "high?", "chance?", "n?"), float),
    "metric?": str,
}
GRID = {
    "title?": NAME,
    "rows": [NAME],
    "columns": [NAME],
    "cells": [{"row": NAME, "column": NAME, **GRID_CELL}],
}
SPOTS = {
    "unit?": {str: str},
    "slides": {
        str: {
            "sample?": [NAME],
            "x": [float],
            "y": [float],
            "genes": {str: {"measured?": [VALUE], "predicted?": [VALUE]}},
        }
    },
}
LARGEST_JSON = 20 * 2**20  # anything larger is not a table for the page
NO_LABEL = "(none)"  # as `pathjax figure` writes it
MOST_CLASSES = 40  # more cannot be distinguished; the rest are shown as one
FEW_VALUES = 12  # numbers with no more distinct values than this are class names


def kind_of(path: Path) -> str | None:
    """ "points", "grids", "maps" or "audit"; None for any other file."""
    if not path.is_file() or path.name.startswith("."):
        return None
    if path.suffix == ".csv":
        columns = set(read_header(path, COLUMNS))
        return "points" if columns >= {"x", "y"} and columns & {"label", "id"} else None
    if path.suffix == ".json" and path.stat().st_size <= LARGEST_JSON:
        try:
            content = read_json(path)
        except ValueError:
            return None  # a file of another program
        kinds = (("grids", is_grid), ("maps", is_spots), ("audit", is_audit))
        return next((kind for kind, fits in kinds if fits(content)), None)
    return None


def _numbers(column: pd.Series) -> np.ndarray:
    """A column's numbers, with points or commas; NaN for any other text."""

    def parsed(text: str) -> float:
        try:
            return number(text)
        except ValueError:
            return math.nan

    return np.array([parsed(text) for text in column], np.float64)


def rounded_within(values: np.ndarray, steps: int = 4096) -> list:
    """Coordinates to one part in `steps` of their range, finer than a screen's pixels.

    Significant digits would not do: far from 0 they leave too few positions.
    """
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    extent = float(np.ptp(finite)) if finite.size else 0.0
    places = 0 if extent == 0 else max(0, math.ceil(math.log10(steps / extent)))
    short = [round(v, places) if math.isfinite(v) else None for v in values.tolist()]
    return [int(v) if v is not None and v.is_integer() else v for v in short]


def read_points(path: Path) -> dict[str, Any]:
    """Embeddings in the plane, as `pathjax figure tsne` writes them.

    Returns:
      `title`, `notes`, from the JSON of the same name if any; `x`, `y`, `id`: a value
      per point; either `values`: a number per point, null where there is none; or
      `classes`: names, the most frequent first, and `label`: a point's index among
      them; `dropped`: number of rows without coordinates.
    """
    frame = read_table(path, COLUMNS, required=("x", "y"), comment="#")
    xy = np.stack([_numbers(frame[name]) for name in ("x", "y")], axis=1)
    kept = np.isfinite(xy).all(axis=1)
    if not kept.any():
        raise ValueError(f"{path} has no row whose x and y are numbers")
    frame = frame[kept]
    title, notes = _record(path)
    return {
        "title": title,
        "notes": notes,
        "x": rounded_within(xy[kept, 0]),
        "y": rounded_within(xy[kept, 1]),
        "id": frame["id"].tolist() if "id" in frame else [],
        **_colours(frame.get("label", pd.Series("", frame.index))),
        "dropped": int((~kept).sum()),
    }


def _colours(label: pd.Series) -> dict[str, Any]:
    """Numbers as `values`, anything else as `classes` and `label`."""
    numbers = pd.to_numeric(label, errors="coerce").to_numpy(float)
    known = np.isfinite(numbers)
    if (known | label.isin(["", NO_LABEL])).all() and (
        len(np.unique(numbers[known])) > FEW_VALUES
    ):
        return {"values": rounded_list(numbers)}
    named = label.where(label != "", NO_LABEL)
    classes = named.value_counts(sort=True).index.tolist()
    if len(classes) > MOST_CLASSES:
        rest = classes[MOST_CLASSES - 1 :]
        other = f"({len(rest)} other classes)"
        named = named.where(~named.isin(rest), other)
        classes = [*classes[: MOST_CLASSES - 1], other]
    return {"classes": classes, "label": pd.Index(classes).get_indexer(named).tolist()}


def _record(path: Path) -> tuple[str, list[str]]:
    """Title and purity from the JSON that `pathjax figure` writes beside the CSV."""
    try:
        record = read_json(path.with_suffix(".json"), TSNE)
    except (OSError, ValueError):
        return path.stem, []
    notes = []
    for key, where in (("embedding", "in the embedding"), ("plane", "here")):
        if purity := record.get(key):
            notes.append(
                f"Agreement with the {purity['k']} nearest neighbours {where}: "
                f"{purity['value']:.2f}; chance {purity['chance']:.2f}."
            )
    return record["title"], notes


def is_grid(content: Any) -> bool:
    """Whether JSON is a heat map."""
    return (
        isinstance(content, dict)
        and isinstance(content.get("cells"), list)
        and {"rows", "columns"} <= set(content)
    )


def read_grids(path: Path) -> list[dict[str, Any]]:
    """The heat map: `title`, `rows`, `columns` (names) and `cells`."""
    content = read_json(path, GRID)
    rows, columns = ([str(name) for name in content[k]] for k in ("rows", "columns"))
    cells = [
        _cell(str(cell["row"]), str(cell["column"]), cell) for cell in content["cells"]
    ]
    places = [(cell["row"], cell["column"]) for cell in cells]
    wrong = [f"({r}, {c})" for r, c in places if r not in rows or c not in columns]
    if wrong:
        raise ValueError(f"{path} has cells of no row or column: {', '.join(wrong)}")
    title = str(content.get("title") or path.stem)
    return [{"title": title, "rows": rows, "columns": columns, "cells": cells}]


def _cell(row: str, column: str, cell: dict[str, Any]) -> dict[str, Any]:
    numbers = ("value", "low", "high", "chance", "n")
    kept = {key: rounded(cell[key]) for key in numbers if key in cell}
    if "n" in kept and kept["n"] is not None:
        kept["n"] = int(cell["n"])
    return {"row": row, "column": column, **kept} | {
        key: cell[key] for key in ("metric",) if key in cell
    }


def is_spots(content: Any) -> bool:
    """Whether JSON is a `spots.json`."""
    return isinstance(content, dict) and isinstance(content.get("slides"), dict)


def read_maps(path: Path) -> list[dict[str, Any]]:
    """A spot map for each slide.

    Returns:
      Records of `title`; `x`, `y`, `id`: a value per spot; `unit` by kind of value;
      `genes`: a list of `gene`, `measured`, `predicted` (a value per spot, null where
      there is none) and `r`, Pearson's over the spots that have both.
    """
    content = read_json(path, SPOTS)
    return [
        _map_of_slide(f"{path}, {name}", name, slide, content.get("unit") or {})
        for name, slide in content["slides"].items()
    ]


def _map_of_slide(place: str, name: str, slide: dict, unit: dict) -> dict[str, Any]:
    x, y = (np.array(slide[key], np.float64) for key in ("x", "y"))
    genes = {}
    for gene, values in slide["genes"].items():
        given = [kind for kind in VALUES if values.get(kind) is not None]
        genes[gene] = {kind: np.array(values[kind], float) for kind in given}
        if any(len(known) != len(x) for known in genes[gene].values()):
            raise ValueError(f"{place}: {gene} does not have one value per spot")
    if len(x) != len(y) or not np.isfinite([x, y]).all():
        raise ValueError(f"{place} has spots whose x or y is not a number")
    return {
        "title": name,
        "x": rounded_within(x),
        "y": rounded_within(y),
        "id": slide.get("sample") or [],
        "unit": unit,
        "genes": [
            {"gene": gene, "r": _pearson(values)}
            | {kind: rounded_list(known) for kind, known in values.items()}
            for gene, values in genes.items()
        ],
    }


def _pearson(values: dict[str, np.ndarray]) -> float | None:
    if len(values) < 2:
        return None
    both = np.isfinite(values["measured"]) & np.isfinite(values["predicted"])
    pair = values["measured"][both], values["predicted"][both]
    if both.sum() < 2 or min(np.ptp(side) for side in pair) == 0:
        return None
    return rounded(float(np.corrcoef(*pair)[0, 1]))
