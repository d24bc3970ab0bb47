"""Runs of seconds with a gene tower, for the tests of each."""

import jax
import numpy as np
import pytest
from tiny_study import config_for

from pathjax.config import RunConfig
from pathjax.models.model_file import load_model
from pathjax.train.telemetry.metric_writer import read_metrics
from pathjax.train.trainer import train


def options(tower, **values):
    """A small run's dotted keys; those of the tower without their section."""
    own = {f"objective.expression_tower.{name}": v for name, v in tower.items()}
    small = {"model.width": 12, "model.heads": 1, "data.tiles": 1, "data.genes": 20}
    return own | small | values


class Stopped(Exception):
    pass


def stop(done, note=""):
    """Between a checkpoint and the next."""
    if done == 3:
        raise Stopped


@pytest.fixture
def config_of(tiny_study):
    return lambda tower, **values: config_for(tiny_study, **options(tower, **values))


@pytest.fixture
def check_run(config_of, tmp_path):
    """Trains four steps, and two and two; returns the model."""

    def check(tower, **values):
        values = {"optim.steps": 4, "checkpoint.every": 2, **values}
        whole = train(config_of(tower, **values), tmp_path / "whole")
        rows = read_metrics(tmp_path / "whole" / "metrics.jsonl")
        assert np.isfinite([r["train/loss"] for r in rows if "train/loss" in r]).all()
        with pytest.raises(Stopped):
            train(config_of(tower, **values), tmp_path / "parts", stop)
        resumed = train(config_of(tower, **values), tmp_path / "parts")
        a, b = load_model(whole.model), load_model(resumed.model)
        jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
        assert a.meta["resources"] == b.meta["resources"]
        return a

    return check


@pytest.fixture
def problems_of(config_of):
    """What keeps a run with a tower from starting."""

    def problems(tower, **values):
        run = RunConfig.from_dict(config_of(tower, **values).to_dict())
        return "; ".join(run.problems())

    return problems
