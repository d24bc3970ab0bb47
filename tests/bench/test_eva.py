"""`bench eva`: ours on a small set, and against kaiko-eva where it is installed."""

import importlib.util
import json

import pytest

from pathjax.bench import run_bench
from pathjax.bench.eva import EvaOptions, job
from pathjax.bench.eva_sets import generated, write_set
from pathjax.bench.options import BenchError

SMALL = [
    "--config.rows=600", "--config.val_rows=200", "--config.width=8",
    "--config.runs=2", "--config.made_steps=24", "--config.timed_steps=24",
    "--config.peer_steps=6", "--config.rounds=1", "--config.threads=1",
    "--config.parts=generated,time",
]  # fmt: skip


def test_both_are_told_the_protocols_patience(tmp_path):
    write_set(tmp_path / "set", generated(600, 200, 8))
    told = job(tmp_path / "set", EvaOptions(), 24)
    # 600 rows are 3 batches; a fifth of 24 steps is 4.8, hence 2 epochs.
    assert (told["steps_an_epoch"], told["patience"], told["max_steps"]) == (3, 2, 24)


@pytest.mark.slow
def test_the_command_writes_what_it_shows(tmp_path, capsys):
    run_bench("eva", False, tmp_path / "eva.json", SMALL)
    found = json.loads((tmp_path / "eva.json").read_text())
    ours = found["sets"]["generated"]["pathjax"]
    assert len(ours["scores"]) == 2 and all(0 <= one <= 1 for one in ours["scores"])
    assert ours["steps"] == 3 * sum(ours["epochs"]) <= 48
    (one,) = found["time"]["rounds"]
    assert one["cold"]["scores"] == one["warm"]["scores"]
    assert sum(one["cold"]["parts"].values()) == pytest.approx(one["cold"]["seconds"])
    assert "balanced accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["--config.parts=pcam"], "parts=pcam: there are idc, her2st, generated, time"),
        (["--config.runs=1"], "runs=1: wanted 2"),
    ],
)
def test_what_cannot_be_run_is_an_error(words, wanted):
    with pytest.raises(BenchError, match=wanted):
        run_bench("eva", False, None, words)


@pytest.mark.peer
@pytest.mark.skipif(
    importlib.util.find_spec("eva") is None, reason="needs the extra pathjax[eva]"
)
def test_eva_itself_from_our_starts_ends_where_we_do(tmp_path):
    """200 rows are one batch, so that their order does not matter."""
    from pathjax.bench.eva import ours, theirs, write_starts

    folder = tmp_path / "set"
    write_set(folder, generated(200, 300, 8))
    options = EvaOptions(runs=2, threads=1)
    told = job(folder, options, 20)
    write_starts(folder, told)
    found = ours(folder, told, tmp_path / "compiled")
    peer = theirs(told, options, workers=0, starts="ours")
    assert [run[-1][0] for run in peer["marks"]] == found["epochs"]
    assert peer["scores"] == pytest.approx(found["scores"], abs=0.004)  # one row
