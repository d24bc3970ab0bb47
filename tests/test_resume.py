"""Which changes of a config keep a run the same run."""

import json
from pathlib import Path

import pytest

from pathjax.config import ConfigError, base_config, override
from pathjax.resume import require_same_run


def record(**values):
    config = base_config()
    override(config, values)
    return {
        "config": json.loads(config.to_json()),
        "panel": None,
        "study": {"name": "s", "fingerprint": "f"},
    }


def test_what_does_not_change_the_result_may_change():
    free = {"log.every": 3, "data.threads": 9, "mesh.fsdp": 2, "study": "/moved/there"}
    require_same_run(record(), record(**free), Path("w"))


def test_everything_that_differs_is_named():
    with pytest.raises(ConfigError) as caught:
        require_same_run(
            record(),
            record(**{"seed": 1, "optim.steps": 7, "objective.loss": "sigmoid"}),
            Path("w"),
        )
    text = str(caught.value)
    assert "seed: 0 there, 1 here" in text and "optim.steps: 1000 there" in text
    assert "objective.loss: None there, 'sigmoid' here" in text


def test_another_study_is_refused():
    other = record() | {"study": {"name": "s", "fingerprint": "g"}}
    with pytest.raises(ConfigError, match="'fingerprint': 'g'"):
        require_same_run(record(), other, Path("w"))
