"""The tables of a study of spots: samples, targets and the split by patient."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pathjax.data.folds import patient_folds
from pathjax.data.study import Split, Target
from pathjax.data.tables import number
from pathjax.datasets.spatial.sample import ARRAY_COLUMNS, Note, SpatialSample

# A tile enlarged more than this shows less than its mpp promises.
UPSAMPLED_FROM = 1.5
TEST_SHARE = 0.2


def sample_table(
    sample: SpatialSample, mpp: float, enlargement: float, labels: dict[str, str]
) -> pd.DataFrame:
    """A row per spot; `labels` are those of the whole sample."""
    obs = sample.counts.obs
    own = obs[[name for name in obs if name not in ARRAY_COLUMNS]]
    return pd.DataFrame(
        {
            "sample_id": sample.sample_ids,
            "patient_id": sample.patient,
            "site": sample.site,
            "slide_id": sample.name,
            **{name: obs[name].to_numpy() for name in ARRAY_COLUMNS if name in obs},
            "pixel_x": sample.positions[:, 0],
            "pixel_y": sample.positions[:, 1],
            "source_mpp": mpp,
            "enlargement": enlargement,
            "upsampled": enlargement > UPSAMPLED_FROM,
            "total_counts": np.asarray(sample.counts.X.sum(axis=1)).ravel(),
            **{name: own[name].to_numpy() for name in own},
            **labels,
        }
    )


def join_samples(tables: Sequence[pd.DataFrame]) -> tuple[pd.DataFrame, list[Target]]:
    """One table of all spots, and a target for each label.

    A column of numbers is a number; everything else is classes.
    """
    samples = pd.concat(tables, ignore_index=True)
    fixed = set(tables[0].columns[: list(tables[0].columns).index("total_counts") + 1])
    fixed |= set(ARRAY_COLUMNS)
    targets = []
    for name in [name for name in samples if name not in fixed]:
        values = samples[name]
        known = values.dropna()
        numbers = _numbers(known)
        if numbers is not None:
            samples[name] = numbers.reindex(samples.index)
            targets.append(Target(name, "sample", "number"))
        else:
            text = values.astype(object).where(values.notna(), None)
            samples[name] = [None if value is None else str(value) for value in text]
            classes = tuple(sorted(set(known.astype(str))))
            if classes:
                targets.append(Target(name, "sample", "class", classes))
    text = "counts of the spot over all genes"
    return samples, [*targets, Target("total_counts", "sample", "number", (), text)]


def _numbers(values: pd.Series) -> pd.Series | None:
    """The values as numbers, None if some are not (or are True and False)."""
    if not len(values) or values.dtype == bool:
        return None
    try:
        return values.map(lambda value: number(str(value))).astype(float)
    except ValueError:
        return None


def patient_split(samples: pd.DataFrame) -> tuple[list[Split], list[Note]]:
    """A split by patient into train and test; "all" and the reason for one patient."""
    patients = samples[["patient_id"]].drop_duplicates().reset_index(drop=True)
    if len(patients) < 2:
        folds = {"train": tuple(patients["patient_id"])}
        note = "for training alone: nothing is held out"
        reason = ("split patients", "all samples are of one patient")
        return [Split("all", folds, note=note)], [reason]
    test = max(TEST_SHARE, 1 / len(patients))
    folds = patient_folds(patients, {"train": 1 - test, "test": test})
    return [folds.split("patients", "whole patients, at random (seed 0)")], []
