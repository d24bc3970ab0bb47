"""Embeddings in the plane, for hover: a CSV with the columns x, y, label and id.

It is what `pathjax figure tsne` writes beside its picture, with a record of the same
name in JSON, whose title and purity are shown where it is there. `label` and `id` may be
missing; other columns are left alone. Lines at the top that begin with `#` are notes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.report.page.noted_csv import read_noted
from pathjax.report.page.rounded import rounded_list, rounded_within

WANTED = ("x", "y")
NO_LABEL = "(none)"  # as `pathjax figure` writes it
MOST_CLASSES = 40  # colour and shape tell so many apart; the rest are shown as one
FEW_VALUES = 12  # numbers that take no more values than this are names of classes


def read_points(path: Path) -> dict[str, Any]:
    """A section's data.

    Returns:
      `title`, `notes`; `x`, `y`, `id`: a value per point; either `values`: a number per
      point, null where there is none; or `classes`: names, the most frequent first, and
      `label`: a point's place among them; `dropped`: rows without coordinates.

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
    label = frame["label"][kept] if "label" in frame else x[kept].map(lambda _: "")
    title, notes = _record(path)
    return {
        "title": title,
        "notes": notes,
        "x": rounded_within(x[kept].to_numpy()),
        "y": rounded_within(y[kept].to_numpy()),
        "id": frame["id"][kept].tolist() if "id" in frame else [],
        **_colours(label),
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
    place = {name: number for number, name in enumerate(classes)}
    return {"classes": classes, "label": [place[name] for name in named]}


def _record(path: Path) -> tuple[str, list[str]]:
    """Title and purity from the record beside the CSV, where it is one."""
    beside = path.with_suffix(".json")
    try:
        record = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return path.stem, []  # a picture without a record, or another's file
    if not isinstance(record, dict) or not isinstance(record.get("title"), str):
        return path.stem, []
    notes = []
    for where, words in (("embedding", "in the embedding"), ("plane", "here")):
        one = record.get(where)
        if isinstance(one, dict) and {"value", "k", "chance"} <= set(one):
            notes.append(
                f"Agreement with the {one['k']} nearest neighbours {words}: "
                f"{one['value']:.2f}; chance {one['chance']:.2f}."
            )
    return record["title"], notes
