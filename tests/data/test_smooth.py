"""Neighbours' blending: the formula, who is a neighbour, and who is never blended."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pathjax.config import RunConfig
from pathjax.data.row_ranges import RowRanges
from pathjax.data.samples import Samples
from pathjax.data.smooth import smooth
from pathjax.data.study import StudyError


class Made:
    """What `smooth` reads of a study: places, and which slide a sample is of."""

    def __init__(self, samples):
        self.samples = samples.assign(patient_id="P", site="S")
        self.runs = samples[["sample_id", "slide_id"]]


@pytest.fixture
def grid():
    """Two slides of 5 x 5 spots at the same places."""
    row, column = np.divmod(np.arange(25), 5)
    slides = [
        pd.DataFrame({"slide_id": slide, "array_row": row, "array_col": column,
                      "pixel_x": 100.0 * column + 7, "pixel_y": 100.0 * row})
        for slide in "ab"
    ]  # fmt: skip
    table = pd.concat(slides, ignore_index=True)
    table["sample_id"] = [f"s{i}" for i in range(50)]
    return table


def samples_of(rows, expression, measured=None):
    n = len(rows)
    return Samples(
        RowRanges(np.arange(n), np.ones(n, np.int64)), np.arange(n + 1), np.array(rows),
        np.arange(n), expression=expression, measured=measured,
    )  # fmt: skip


def by_hand(table, rows, x, weight, known=None):
    """The formula, spot by spot."""
    known = np.ones(x.shape, bool) if known is None else known
    out = x.astype(np.float64)
    places = table[["array_row", "array_col"]].to_numpy()[rows]
    slides = table["slide_id"].to_numpy()[rows]
    for i in range(len(rows)):
        near = np.hypot(*(places - places[i]).T) <= np.sqrt(2) + 1e-9
        near &= (slides == slides[i]) & (np.arange(len(rows)) != i)
        for gene in range(x.shape[1]):
            own = near & known[:, gene]
            if own.any() and known[i, gene]:
                mean = x[own, gene].mean()
                out[i, gene] = (1 - weight) * x[i, gene] + weight * mean
    return out


def test_spots_are_blended_with_neighbours_of_their_slide_and_fold(grid):
    rows = np.array([i for i in range(50) if i not in (6, 12, 31)])  # not in the fold
    x = np.random.default_rng(0).normal(size=(47, 3)).astype(np.float32)
    found = smooth(samples_of(rows, x), Made(grid), 0.5)
    np.testing.assert_allclose(found.expression, by_hand(grid, rows, x, 0.5), rtol=1e-5)
    # Pixels are in units of the distance between nearest spots.
    pixels = Made(grid.drop(columns=["array_row", "array_col"]))
    again = smooth(samples_of(rows, x), pixels, 0.5)
    np.testing.assert_allclose(again.expression, found.expression, rtol=1e-6)
    assert smooth(samples_of(rows, x), Made(grid), 0.0).expression == pytest.approx(x)


def test_genes_that_were_not_measured_are_no_neighbours(grid):
    random = np.random.default_rng(1)
    x = random.normal(size=(50, 4)).astype(np.float32)
    known = random.random(x.shape) > 0.5
    x[~known] = 0
    found = smooth(samples_of(np.arange(50), x, known), Made(grid), 0.3)
    expected = by_hand(grid, np.arange(50), x, 0.3, known)
    np.testing.assert_allclose(found.expression, expected, rtol=1e-5, atol=1e-6)


def test_a_spot_alone_stays(grid):
    x = np.ones((3, 2), np.float32) * [[1], [2], [3]]
    rows = [0, 12, 24]
    found = smooth(samples_of(rows, x.astype(np.float32)), Made(grid), 0.5)
    np.testing.assert_array_equal(found.expression, x)


def test_samples_without_a_place_are_refused(grid):
    samples = samples_of([0, 1], np.zeros((2, 2), np.float32))
    nowhere = grid[["sample_id", "slide_id"]]
    with pytest.raises(StudyError, match="slide a have neither .* data.smooth=0"):
        smooth(samples, Made(nowhere), 0.5)
    with pytest.raises(StudyError, match="several samples of slide a are at one place"):
        smooth(samples, Made(grid.assign(array_row=0, array_col=0)), 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.smooth": 1.5}, "data.smooth=1.5: expected 0 to 1"),
        ({"data.unit": "tile"}, "expected data.unit=sample"),
        ({"objective.loss": "negative_binomial"}, "counts have to stay whole"),
        ({"objective.name": "dino", "objective.loss": None}, "it reads none"),
    ],
)
def test_what_cannot_be_blended(changes, message):
    values = RunConfig().to_dict()
    values |= {"study": "s", "split": "main", "objective": {"name": "regression"}}
    values["data"] |= {"genes": 5, "smooth": 0.5}
    for key, value in changes.items():
        section, name = key.split(".")
        if value is not None:
            values[section][name] = value
    problems = RunConfig.from_dict(values).problems()
    assert any(message in problem for problem in problems)


def test_only_the_training_fold_is_blended(tiny_study, monkeypatch):
    """`fold`, which validation reads, gives the spots as measured."""
    from tiny_study import config_for

    from pathjax.config import RunConfig
    from pathjax.train import inputs

    samples = tiny_study.samples.assign(pixel_x=np.arange(12.0), pixel_y=0.0)
    monkeypatch.setitem(tiny_study.__dict__, "samples", samples)
    runs = tiny_study.runs.assign(slide_id="one")
    config = RunConfig.from_dict(
        config_for(tiny_study, **{"val_fold": "val", "data.smooth": 0.5}).to_dict()
    )
    made = dataclasses.replace(inputs.read_inputs(config), study=tiny_study)
    whole, held = made.fold("train").expression, made.fold("val").expression
    monkeypatch.setitem(tiny_study.__dict__, "runs", tiny_study.runs)
    monkeypatch.setattr(
        "pathjax.data.smooth.groups_of",
        lambda study, ids: runs.head(len(ids)).rename(columns={"slide_id": "slide"}),
    )
    blended = made.training_fold().expression
    middle = whole[1:-1] / 2 + (whole[:-2] + whole[2:]) / 4
    np.testing.assert_allclose(blended[1:-1], middle, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(made.validation_fold().expression, held)
