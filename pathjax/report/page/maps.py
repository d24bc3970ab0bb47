"""Spot maps: `spots.json` of `pathjax predict --measured`, or a CSV with a row a spot.

    {"unit": {"measured": "...", "predicted": "..."},
     "slides": {"C5": {"sample": [...], "x": [...], "y": [...],
                       "genes": {"ERBB2": {"measured": [...], "predicted": [...]}}}}}

The CSV has the columns x, y, gene, measured and predicted; `measured` or `predicted` may
be missing, and so may `id`. A gene has no value at spots that its rows leave out.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.report.page.noted_csv import read_noted
from pathjax.report.page.rounded import rounded, rounded_list, rounded_within

WANTED = ("x", "y", "gene")
VALUES = ("measured", "predicted")


def is_spots(content: Any) -> bool:
    """Whether JSON is a `spots.json`."""
    return isinstance(content, dict) and isinstance(content.get("slides"), dict)


def read_maps(path: Path) -> list[dict[str, Any]]:
    """A map for each slide.

    Returns:
      Records of `title`; `x`, `y`, `id`: a value per spot; `unit` by kind of value;
      `genes`: a list of `gene`, `measured`, `predicted` (a value per spot, null where
      there is none) and `r`, Pearson's over the spots that have both.

    Raises:
      ValueError: columns or keys are missing, lengths differ, or coordinates are no
        numbers.
    """
    if path.suffix != ".json":
        return [_of_csv(path)]
    content = json.loads(path.read_text(encoding="utf-8"))
    if not is_spots(content):
        raise ValueError(f"{path} lacks slides (an object)")
    return [
        _of_slide(f"{path}, {name}", name, slide, content.get("unit") or {})
        for name, slide in content["slides"].items()
    ]


def _of_slide(place: str, name: str, slide: dict, unit: dict) -> dict[str, Any]:
    missing = [key for key in ("x", "y", "genes") if key not in slide]
    if missing:
        raise ValueError(f"{place} lacks {', '.join(missing)}")
    x, y = (np.array(slide[key], np.float64) for key in ("x", "y"))
    genes = {}
    for gene, values in slide["genes"].items():
        genes[gene] = {
            kind: np.array(values[kind], np.float64)
            for kind in VALUES
            if kind in values
        }
        if any(len(one) != len(x) for one in genes[gene].values()):
            raise ValueError(f"{place}: {gene} has not a value for each spot")
    if len(x) != len(y) or not np.isfinite([x, y]).all():
        raise ValueError(f"{place} has spots whose x or y is no number")
    return _map(name, x, y, slide.get("sample") or [], genes, unit)


def _of_csv(path: Path) -> dict[str, Any]:
    frame = read_noted(path, dtype={"gene": str, "id": str}, keep_default_na=False)
    missing = [name for name in WANTED if name not in frame.columns]
    there = [name for name in VALUES if name in frame.columns]
    if missing or not there:
        lacking = ", ".join(missing) or " or ".join(VALUES)
        raise ValueError(f"{path} lacks the columns {lacking}")
    for name in ("x", "y", *there):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    if not np.isfinite(frame[["x", "y"]].to_numpy()).all():
        raise ValueError(f"{path} has rows whose x or y is no number")
    spots = frame.drop_duplicates(["x", "y"])
    keys = pd.MultiIndex.from_frame(spots[["x", "y"]])
    genes = {}
    for gene, rows in frame.groupby("gene", sort=False):
        rows = rows.drop_duplicates(["x", "y"]).set_index(["x", "y"])
        genes[gene] = {kind: rows[kind].reindex(keys).to_numpy(float) for kind in there}
    x, y = spots["x"].to_numpy(), spots["y"].to_numpy()
    ids = spots["id"].tolist() if "id" in spots else []
    return _map(path.stem, x, y, ids, genes, {})


def _map(title, x, y, ids, genes, unit) -> dict[str, Any]:
    return {
        "title": title,
        "x": rounded_within(x),
        "y": rounded_within(y),
        "id": ids,
        "unit": unit,
        "genes": [
            {
                "gene": gene,
                "r": _pearson(values),
                **{kind: rounded_list(one) for kind, one in values.items()},
            }
            for gene, values in genes.items()
        ],
    }


def _pearson(values: dict[str, np.ndarray]) -> float | None:
    if len(values) < 2:
        return None
    both = np.isfinite(values["measured"]) & np.isfinite(values["predicted"])
    pair = values["measured"][both], values["predicted"][both]
    if both.sum() < 2 or min(np.ptp(one) for one in pair) == 0:
        return None
    return rounded(float(np.corrcoef(*pair)[0, 1]))
