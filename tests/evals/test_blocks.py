import types

import numpy as np
import pandas as pd
import pytest

from pathjax.evals import EvalError
from pathjax.evals.blocks import block_ids, missing_columns
from pathjax.evals.probes.base import FoldRows
from pathjax.evals.run import _blocks
from pathjax.evals.tasks import Task

TASK = Task("e", "s", None, "expression", "c", "fit", "test", blocks_um=1000.0)


def spots(count=40, patients=1):
    """Spots of two sections with unequal resolution, in no order."""
    rng = np.random.default_rng(0)
    slide = np.array(["S1", "S2"])[rng.integers(0, 2, count)]
    samples = pd.DataFrame(
        {
            "pixel_x": rng.uniform(0, 9000, count),
            "pixel_y": rng.uniform(0, 9000, count),
            "source_mpp": np.where(slide == "S1", 0.5, 0.68),
        }
    )
    ids = np.array([f"r{i}" for i in range(count)])
    patient = np.array([f"P{i % patients}" for i in range(count)])
    index = rng.permutation(count)[: count // 2]
    rows = FoldRows(
        index,
        index,
        np.zeros((len(index), 2), np.float32),
        ids[index],
        ids[index],
        patient[index],
        slide[index],
    )
    return types.SimpleNamespace(samples=samples, name="s"), rows


def test_blocks_are_squares_of_a_section():
    study, rows = spots()
    names = block_ids(study, rows, 1000.0)
    for name, index, slide in zip(names, rows.index, rows.slide, strict=True):
        spot = study.samples.iloc[index]
        across = int(spot.pixel_x * spot.source_mpp // 1000)
        down = int(spot.pixel_y * spot.source_mpp // 1000)
        assert name == f"{slide} {across},{down}"
    assert 2 < len(set(names)) < len(rows)


def test_a_sample_without_a_place_is_named():
    study, rows = spots()
    study.samples.loc[rows.index[3], "pixel_y"] = np.nan
    with pytest.raises(EvalError, match=f"1 of 20 samples .* first {rows.unit[3]}"):
        block_ids(study, rows, 1000.0)
    del study.samples["source_mpp"]
    assert missing_columns(study) == ["source_mpp"]


def test_several_patients_are_refused():
    study, rows = spots(patients=3)
    with pytest.raises(EvalError, match="of one patient, got 3 patients"):
        _blocks(TASK, study, [rows])
    study, rows = spots()
    assert len(_blocks(TASK, study, [rows, rows])) == 2 * len(rows)
