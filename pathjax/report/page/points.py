"""Embeddings in the plane, for hover: a CSV with the columns x, y, label and id.

It is what `pathjax figure tsne` writes beside its picture. `label` and `id` may be
missing; other columns are left alone. Lines that begin with `#` are notes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.report.page.noted_csv import read_noted
from pathjax.report.page.rounded import rounded_within

WANTED = ("x", "y")
LEFT_OUT = "(no label)"


def read_points(path: Path) -> dict[str, Any]:
    """A section's data.

    Returns:
      `title`; `x`, `y`, `id`: a value per point; `classes`: names, the most frequent
      first; `label`: a point's place in `classes`; `dropped`: rows without coordinates.

    Raises:
      ValueError: no such columns, or no row with coordinates.
    """
    frame = read_noted(path, dtype=str, keep_default_na=False)
    missing = [name for name in WANTED if name not in frame.columns]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}")
    x, y = (pd.to_numeric(frame[name], errors="coerce") for name in WANTED)
    kept = np.isfinite(x.to_numpy()) & np.isfinite(y.to_numpy())
    if not kept.any():
        raise ValueError(f"{path} has no row whose x and y are numbers")
    count = int(kept.sum())
    named = frame["label"][kept] if "label" in frame else pd.Series([""] * count)
    named = named.where(named != "", LEFT_OUT)
    classes = named.value_counts(sort=True).index.tolist()
    place = {name: number for number, name in enumerate(classes)}
    ids = frame["id"][kept].tolist() if "id" in frame else []
    return {
        "title": path.stem,
        "x": rounded_within(x[kept].to_numpy()),
        "y": rounded_within(y[kept].to_numpy()),
        "id": ids,
        "classes": classes,
        "label": [place[name] for name in named],
        "dropped": int((~kept).sum()),
    }
