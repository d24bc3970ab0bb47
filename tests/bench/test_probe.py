"""The benchmark of the linear probe, on a small sweep."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from pathjax.bench import probe

SMALL = probe.Options(
    rows=600, val_rows=100, width=4, runs=2, max_steps=30, peer_steps=7
)
OURS = [0.80, 0.82, 0.87, 0.81, 0.84]
THEIRS = [0.79, 0.83, 0.85, 0.80, 0.80]


def contestant(name, kind, options, folder):
    probe.prepare(options, folder)
    (entry,) = (e for e in probe.entries(options, folder) if e.name == name)
    return kind(dict(entry.options))


def test_a_turn_is_the_whole_sweep(tmp_path):
    ours = contestant("pathjax", probe.Sweep, SMALL, tmp_path)
    info = ours.info
    # 600 rows are 3 batches; 10 epochs at most, 2 runs.
    assert info["steps"] == 3 * sum(info["epochs"]) <= 60
    assert all(0 <= score <= 1 for score in info["scores"])
    assert ours.run(2) == 2 * info["steps"]


def test_peers_get_the_patience_of_the_protocol(tmp_path):
    options = dataclasses.replace(SMALL, max_steps=24)
    for entry in probe.entries(options, tmp_path):
        # A fifth of 24 steps is 4.8, hence 2 epochs of 3.
        assert (entry.options["steps_an_epoch"], entry.options["patience"]) == (3, 2)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["torch", "torch-loader"])
def test_pytorch_takes_its_steps(name, tmp_path):
    pytest.importorskip("torch")
    from pathjax.bench.torch_peers import TorchProbe

    assert contestant(name, TorchProbe, SMALL, tmp_path).run(2) == 14


@pytest.mark.peer
def test_eva_scores_like_ours(tmp_path):
    pytest.importorskip("eva", reason="needs the extra pathjax[eva]")
    from pathjax.bench.eva_peer import EvaRuns

    options = probe.Options(rows=2000, val_rows=1000, width=8, runs=2, max_steps=40)
    ours = contestant("pathjax", probe.Sweep, options, tmp_path).info
    theirs = contestant("eva", EvaRuns, options, tmp_path).info
    assert np.mean(theirs["scores"]) == pytest.approx(np.mean(ours["scores"]), abs=0.1)


def test_error_is_that_of_welchs_t_test():
    points, error = probe.agreement(OURS, THEIRS)
    test = stats.ttest_ind(OURS, THEIRS, equal_var=False)
    assert points == pytest.approx(100 * (np.mean(OURS) - np.mean(THEIRS)))
    assert error == pytest.approx(points / test.statistic)
    with pytest.raises(ValueError, match="got 5 and 4"):
        probe.agreement(OURS, THEIRS[:4])
