"""Which columns of a table of spots are labels, and which are about the whole sample."""

import re

import pandas as pd

from pathjax.datasets.spatial.sample import ARRAY_COLUMNS, SpatialError

# Written by a study itself, by Space Ranger, or by quality control; no labels.
OWN = re.compile(
    r"sample_id|patient(_id)?|donor|site|slide_id|library_id|region|spot_id|instance_id|"
    r"in_tissue|source_mpp|enlargement|upsampled|total_counts\w*|n_counts|n_genes\w*|"
    r"log1p_\w+|pct_counts_\w+|pxl_(row|col)_in_fullres|[xy]_pixel|pixel_[xy]|"
    r"[xy]_centroid|cell_id|barcode"
)
MOST_CLASSES = 100  # more different texts are names, not classes


def label_columns(obs: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The labels, and the columns left out that someone may miss, with reasons."""
    labels, unused = {}, []
    for name in obs:
        if name in ARRAY_COLUMNS or OWN.fullmatch(str(name)):
            continue
        values = obs[name]
        number = pd.api.types.is_numeric_dtype(values)
        distinct = values.nunique()
        if distinct < 2:
            unused.append((f"column {name}", "it has one value for all spots"))
        elif not number and distinct > MOST_CLASSES:
            reason = f"{distinct} different texts are no classes"
            unused.append((f"column {name}", reason))
        else:
            labels[str(name)] = values if number else values.astype(object)
    return pd.DataFrame(labels, index=obs.index), unused


def constant(obs: pd.DataFrame, columns: tuple[str, ...], where: str) -> str | None:
    """The one value of the first of the columns that is there.

    Raises:
      SpatialError: Spots have different values, so they are several samples.
    """
    for column in columns:
        if column not in obs:
            continue
        values = sorted(set(obs[column].dropna().astype(str)))
        if len(values) > 1:
            raise SpatialError(
                f"{where}: obs column {column} has {len(values)} values "
                f"({', '.join(values[:3])}): write one file for each section"
            )
        return values[0] if values else None
    return None
