"""Spot maps: a CSV with the columns x, y, gene, measured and predicted, a row a spot.

`measured` or `predicted` may be missing, and so may `id`. Every gene has the same spots;
a spot without a value for a gene has an empty cell there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.report.page.noted_csv import read_noted
from pathjax.report.page.rounded import rounded, rounded_list, rounded_within

WANTED = ("x", "y", "gene")
VALUES = ("measured", "predicted")


def read_maps(path: Path) -> dict[str, Any]:
    """A section's data.

    Returns:
      `title`; `x`, `y`, `id`: a value per spot; `genes`: a list of `gene`, `measured`,
      `predicted` (a value per spot, null where there is none) and `r`, Pearson's over
      spots that have both.

    Raises:
      ValueError: no such columns, or coordinates that are no numbers.
    """
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
    genes = []
    for gene, rows in frame.groupby("gene", sort=False):
        rows = rows.drop_duplicates(["x", "y"]).set_index(["x", "y"])
        values = {name: rows[name].reindex(keys).to_numpy(float) for name in there}
        shown = {name: rounded_list(values[name]) for name in there}
        genes.append({"gene": gene, "r": _pearson(values), **shown})
    return {
        "title": path.stem,
        "x": rounded_within(spots["x"].to_numpy()),
        "y": rounded_within(spots["y"].to_numpy()),
        "id": spots["id"].tolist() if "id" in spots else [],
        "genes": genes,
    }


def _pearson(values: dict[str, np.ndarray]) -> float | None:
    if len(values) < 2:
        return None
    both = np.isfinite(values["measured"]) & np.isfinite(values["predicted"])
    pair = values["measured"][both], values["predicted"][both]
    if both.sum() < 2 or min(np.ptp(one) for one in pair) == 0:
        return None
    return rounded(float(np.corrcoef(*pair)[0, 1]))
