"""The bench of the linear probe, on a small sweep."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from pathjax.bench import probe
from pathjax.bench.options import Common

SMALL = probe.Options(
    rows=600, val_rows=100, width=4, runs=2, max_steps=30, peer_steps=7
)
OURS = [0.80, 0.82, 0.87, 0.81, 0.84]
THEIRS = [0.79, 0.83, 0.85, 0.80, 0.80]


def contestant(name, kind, options, folder):
    probe.prepare(options, folder)
    (entry,) = (one for one in probe.entries(options, folder) if one.name == name)
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
    assert issubclass(probe.Options, Common)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["torch", "torch-loader"])
def test_pytorch_takes_its_steps(name, tmp_path):
    pytest.importorskip("torch")
    from pathjax.bench.probe_peer import TorchLoop

    assert contestant(name, TorchLoop, SMALL, tmp_path).run(2) == 14


@pytest.mark.peer
def test_eva_itself_from_our_starts_ends_where_we_do(tmp_path):
    """200 rows are one batch, so that their order does not matter."""
    pytest.importorskip("eva", reason="needs the extra pathjax[eva]")
    from pathjax.bench.eva_peer import EvaRuns

    options = probe.Options(rows=200, val_rows=300, width=8, runs=2, max_steps=20)
    ours = contestant("pathjax", probe.Sweep, options, tmp_path).info
    theirs = contestant("eva-our-starts", EvaRuns, options, tmp_path).info
    assert theirs["epochs"] == ours["epochs"]
    assert theirs["scores"] == pytest.approx(ours["scores"], abs=0.004)  # one row


@pytest.mark.parametrize("paired", [False, True])
def test_error_is_that_of_scipys_t_test(paired):
    found = probe.agreement(OURS, THEIRS, paired=paired)
    test = (
        stats.ttest_rel(OURS, THEIRS)
        if paired
        else stats.ttest_ind(OURS, THEIRS, equal_var=False)
    )
    assert found["points"] == pytest.approx(100 * (np.mean(OURS) - np.mean(THEIRS)))
    assert found["standard_error"] == pytest.approx(found["points"] / test.statistic)
    with pytest.raises(ValueError, match="got 5 and 4"):
        probe.agreement(OURS, THEIRS[:4], paired=paired)
