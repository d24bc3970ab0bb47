"""A sweep over the small study: trained, resumed, scored; failures are named."""

import json

import pytest
from tiny_study import config_for

import pathjax.sweep.run as sweep_run
from pathjax.config import ConfigError
from pathjax.evals.results import read_results
from pathjax.evals.tasks import Task
from pathjax.sweep.grid import SweepError, parse_grid
from pathjax.sweep.run import BASE, Sweep
from pathjax.train.trainer import train

CONFIG = """
from tiny_study import config_for

class study:
    root = {root!r}

def get_config(arg=None):
    return config_for(study, **{{"optim.steps": 2, "init": {init!r}}})
"""
TASK = Task("class", "tiny", "tile_class", "classification", "main", "train", "val",
            level="tile")  # fmt: skip


@pytest.fixture(scope="module")
def config(tiny_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    # Of the rate of most points below, whose step is then the same program.
    start = config_for(tiny_study, **{"optim.steps": 2, "optim.lr": 1e-4})
    train(start, folder / "init")
    text = CONFIG.format(root=str(tiny_study.root), init=str(folder / "init"))
    (folder / "config.py").write_text(text)
    return str(folder / "config.py")


def make(config, out, *grid, seeds=1, **overrides):
    return Sweep(config, overrides, [parse_grid(grid)], seeds, out)


@pytest.mark.slow
def test_every_point_is_trained_scored_and_compared_with_the_start(
    config, tiny_study, tmp_path
):
    sweep = make(config, tmp_path, "optim.lr=1e-4,1e-2", seeds=2)
    sweep.check()
    assert sweep.train() == {}
    table, written = sweep.evaluate({}, [TASK], [tiny_study])
    names = [row.name for row in table.rows]
    assert names == [BASE, "optim.lr 1e-4", "optim.lr 1e-2"]
    assert table.rows[1].seeds == 2
    assert table.rows[1].base == BASE
    assert written["sweep"].stat().st_size > 10_000
    entries = read_results(tmp_path).entries
    assert len({entry["checkpoint"] for entry in entries}) == 5  # all differ
    config_json = tmp_path / "optim.lr-1e-2" / "seed-1" / "config.json"
    used = json.loads(config_json.read_text())["config"]
    assert used["optim"]["lr"] == 1e-2
    assert used["seed"] == 1


@pytest.mark.slow
def test_resuming_trains_only_what_is_missing(config, tmp_path, monkeypatch):
    make(config, tmp_path, "optim.lr=1e-4").train()
    model = tmp_path / "optim.lr-1e-4" / "seed-0" / "model.safetensors"
    before = model.stat().st_mtime_ns
    larger = make(config, tmp_path, "optim.lr=1e-4,1e-3")
    larger.check()  # a grid may grow
    larger.train(only=1)
    assert model.stat().st_mtime_ns == before
    assert (tmp_path / "optim.lr-1e-3" / "seed-0" / "model.safetensors").exists()
    with pytest.raises(SweepError, match="--only 2: expected 0 to 1"):
        larger.train(only=2)


@pytest.mark.slow
def test_a_run_that_fails_is_named_and_the_others_are_scored(
    config, tiny_study, tmp_path
):
    """The study has 20 genes."""
    sweep = make(config, tmp_path, "data.genes=8,2000", **{"optim.lr": "1e-4"})
    sweep.check()
    failed = sweep.train()
    assert list(failed) == ["data.genes 2000 (seed 0)"]
    assert "set data.genes to at most 20" in failed["data.genes 2000 (seed 0)"]
    table, _ = sweep.evaluate(failed, [TASK], [tiny_study])
    assert [row.name for row in table.rows] == [BASE, "data.genes 8"]


def test_nothing_to_score_is_an_error(config, tiny_study, tmp_path):
    sweep = make(config, tmp_path, "data.genes=2000")
    with pytest.raises(SweepError, match="no run of the sweep finished: data.genes"):
        sweep.evaluate(sweep.train(), [TASK], [tiny_study])


def test_every_point_is_checked_before_anything_is_trained(
    config, tmp_path, monkeypatch
):
    monkeypatch.setattr(sweep_run, "train", pytest.fail)
    for grid, error, message in (
        ("optim.speed=1,2", ConfigError, "unknown key 'optim.speed'"),
        ("optim.lr=1e-4,quick", ConfigError, "expected float"),
        ("seed=1,2", SweepError, "seed cannot be part of the grid"),
    ):
        with pytest.raises(error, match=message):
            make(config, tmp_path, grid).check()
    for key in ("optim.lr", "seed"):  # it was ignored
        with pytest.raises(SweepError, match=f"--config.{key} would not be used"):
            make(config, tmp_path, "optim.lr=1e-4", **{key: "3"}).check()
    grids = [parse_grid(["optim.lr=1e-4"]), parse_grid(["data.genes=8"])]
    Sweep(config, {"optim.lr": "1e-3"}, grids, 1, tmp_path / "both").check()
    with pytest.raises(SweepError, match="at least one seed, got 0"):
        make(config, tmp_path, "optim.lr=1e-4", seeds=0).check()


def test_another_sweep_in_the_folder_is_refused(config, tmp_path):
    make(config, tmp_path, "optim.lr=1e-4").check()
    other = make(config, tmp_path, "optim.lr=1e-4", **{"optim.warmup": "0"})
    with pytest.raises(SweepError, match="holds a sweep with another overrides"):
        other.check()


def test_points_that_are_the_same_run_are_refused(config, tmp_path):
    sweep = make(config, tmp_path, "optim.lr=1e-4,0.0001")
    message = "optim.lr 1e-4 and optim.lr 0.0001 are the same run"
    with pytest.raises(SweepError, match=message):
        sweep.check()


def test_a_run_that_the_device_refuses_does_not_end_the_sweep(
    config, tmp_path, monkeypatch
):
    """Too little memory is an error of XLA's, a RuntimeError."""

    def refuse(config, workdir):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(sweep_run, "train", refuse)
    failed = make(config, tmp_path, "optim.lr=1e-4,1e-3").train()
    assert len(failed) == 2 and all("out of memory" in why for why in failed.values())


def test_grids_share_a_run(config, tmp_path):
    """The config has rank 8; a point at it is the centre of both grids."""
    grids = [parse_grid(["optim.lr=1e-4,1e-3"]), parse_grid(["adapt.rank=2,8"])]
    sweep = Sweep(config, {"optim.lr": "1e-4"}, grids, 2, tmp_path)
    sweep.check()
    assert sweep.runs["adapt.rank 8"].name == "optim.lr 1e-4"
    assert [job.point.name for job in sweep.jobs] == 2 * [
        "optim.lr 1e-4", "optim.lr 1e-3", "adapt.rank 2"
    ]  # fmt: skip
