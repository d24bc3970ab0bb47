"""The arithmetic of the comparison with eva."""

import numpy as np
import pytest
from scipy import stats

from pathjax.bench.eva_report import agreement, steps_a_second

OURS = [0.80, 0.82, 0.87, 0.81, 0.84]
THEIRS = [0.79, 0.83, 0.85, 0.80, 0.80]


@pytest.mark.parametrize("paired", [False, True])
def test_error_is_that_of_scipys_t_test(paired):
    found = agreement(OURS, THEIRS, paired=paired)
    test = (
        stats.ttest_rel(OURS, THEIRS)
        if paired
        else stats.ttest_ind(OURS, THEIRS, equal_var=False)
    )
    assert found["points"] == pytest.approx(100 * (np.mean(OURS) - np.mean(THEIRS)))
    wanted = found["points"] / test.statistic
    assert found["standard_error"] == pytest.approx(wanted)


@pytest.mark.parametrize("theirs", [THEIRS[:4], []])
def test_unlike_numbers_of_runs_are_an_error(theirs):
    with pytest.raises(ValueError, match="found 5 and"):
        agreement(OURS, theirs, paired=False)
    with pytest.raises(ValueError, match="2 at least"):
        agreement(OURS[:1], THEIRS[:1], paired=True)


def test_the_first_epoch_is_not_timed():
    assert steps_a_second([(79, 30.0), (158, 31.0), (316, 34.0)]) == 237 / 4
    with pytest.raises(ValueError, match="found 1 marks"):
        steps_a_second([(79, 30.0)])
