"""Shares of the variance against sums of squares by hand."""

import anndata
import eval_study
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from partial import withhold

from pathjax.data.show import describe
from pathjax.data.variance import shares

study = eval_study.study  # the fixture
SITE = np.repeat(["a", "b"], 12)
PATIENT = np.repeat(["p1", "p2", "p3", "p4"], 6)
SLIDE = np.repeat([f"s{i}" for i in range(8)], 3)
GROUPS = pd.DataFrame({"site": SITE, "patient": PATIENT, "slide": SLIDE})


@pytest.fixture
def expression():
    random = np.random.default_rng(0)
    x = random.poisson(1.0, (24, 5)) + 2.0 * (SITE == "a")[:, None]
    x[:, 2:] += random.normal(size=8)[GROUPS["slide"].factorize()[0], None]
    ids = [f"i{i}" for i in range(24)]
    return anndata.AnnData(x.astype(np.float32), obs=pd.DataFrame(index=ids))


def by_hand(frame, groups):
    """Of a table with NaN for what was not measured."""
    mean = frame.mean()
    total = ((frame - mean) ** 2).sum().sum()
    within = ((frame - frame.groupby(groups).transform("mean")) ** 2).sum().sum()
    return 1 - within / total


def test_shares_are_sums_of_squares_between_groups(expression):
    frame = expression.to_df().astype(np.float64).reset_index(drop=True)
    found = shares(expression, GROUPS)
    assert [(one.factor, one.groups) for one in found] == [
        ("site", 2),
        ("patient", 4),
        ("slide", 8),
    ]
    for one in found:
        expected = by_hand(frame, GROUPS[one.factor])
        assert one.share == pytest.approx(expected, rel=1e-9)
        assert one.chance == pytest.approx((one.groups - 1) / 23)
    assert found[0].share < found[1].share < found[2].share  # nested
    expression.X = scipy.sparse.csr_matrix(expression.X)
    assert shares(expression, GROUPS) == pytest.approx(found)


def test_only_what_was_measured_counts(expression):
    partial = withhold(
        expression, expression.obs_names[10:20], expression.var_names[1:3]
    )
    frame = partial.to_df().astype(np.float64).reset_index(drop=True)
    frame.iloc[10:20, 1:3] = np.nan
    for one in shares(partial, GROUPS):
        assert one.share == pytest.approx(by_hand(frame, GROUPS[one.factor]), rel=1e-9)


def test_factors_that_divide_nothing_are_left_out(expression):
    groups = GROUPS.assign(site="one", slide=expression.obs_names.to_numpy())
    assert [one.factor for one in shares(expression, groups)] == ["patient"]


def test_it_is_shown(study):
    lines = [line for line in describe(study) if "of its variance" in line]
    assert len(lines) == 2 and "between 30 patients" in lines[0]
    assert "between 60 slides" in lines[1] and "by chance" in lines[1]
