"""Which changes of a config keep a run the same run."""

import json
from pathlib import Path

import pytest

from pathjax.config import ConfigError, base_config, override
from pathjax.parallel.mesh import make_mesh
from pathjax.train.resume import (
    comparable,
    continuation,
    layout,
    require_same_run,
)


def record(**values):
    config = base_config()
    override(config, values)
    return {
        "config": json.loads(config.to_json()),
        "panel": None,
        "study": {"name": "s", "fingerprint": "f"},
        "files": {"samples.parquet": "5" * 64},
        "init": {"sha256": "1" * 64},
        "objective_options": {"loss": "infonce", "widths": [16]},
        "code": {"mine": "7" * 64},
        "versions": {"pathjax": "1", "jax": "2"},
        "layout": layout(make_mesh(fsdp=2)),
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
    with pytest.raises(ConfigError, match="study: s f there, s g here"):
        require_same_run(record(), other, Path("w"))


def test_what_a_run_reads_is_compared_by_content(caplog):
    moved = record(init="moved/base")
    require_same_run(record(init="base"), moved, Path("w"))
    for key, message in (
        ("init", "init: sha256 111111111111 there, sha256 222222222222 here"),
        ("files", "file samples.parquet of the study: sha256 5555"),
    ):
        changed = {name: "2" * 64 for name in moved[key]}
        with pytest.raises(ConfigError, match=message):
            require_same_run(record(), moved | {key: changed}, Path("w"))
    assert caplog.text == ""


def test_the_objective_is_compared_with_its_defaults_and_its_code():
    for key, value, message in (
        (
            "objective_options",
            {"loss": "other"},
            "objective.loss: infonce there, other",
        ),
        ("code", {"mine": "8" * 64}, r"code of mine \(objective\): sha256 7+ there"),
    ):
        with pytest.raises(ConfigError, match=message):
            require_same_run(record(), record() | {key: value}, Path("w"))


def test_a_run_from_before_the_objective_was_recorded_resumes(caplog):
    new = record()
    old = {k: v for k, v in new.items() if k not in ("objective_options", "code")}
    require_same_run(old, new, Path("w"))
    expected = "did not record code of mine (objective), objective options: whether"
    assert expected in caplog.text


def test_checkpoints_of_earlier_versions_resume_with_a_warning(caplog):
    old = {k: v for k, v in record(init="base").items() if k not in ("files", "init")}
    require_same_run(old, record(init="base"), Path("w"))
    assert "did not record file samples.parquet of the study, init" in caplog.text
    with pytest.raises(ConfigError, match="init: 'base' there, 'other' here"):
        require_same_run(old, record(init="other"), Path("w"))


def test_text_is_compared_by_what_it_is_and_not_by_where_it_lies():
    text = {"dimensions": 8, "backend": "tfidf", "model": "svd"}

    def run(fingerprint, path="a.h5"):
        given = text | {"fingerprint": fingerprint}
        return record(**{"data.text": path}) | {"text": given}

    require_same_run(run("sha256:1"), run("sha256:1", "moved/b.h5"), Path("w"))
    with pytest.raises(ConfigError, match=r"data\.text: 8 values .* sha256:1 there"):
        require_same_run(run("sha256:1"), run("sha256:2"), Path("w"))
    with pytest.raises(ConfigError, match=r"data\.text: no text there"):
        require_same_run(record(), run("sha256:1"), Path("w"))
    one, two = comparable(run("sha256:1")), comparable(run("sha256:1", "b.h5"))
    assert one == two != comparable(run("sha256:2"))


def test_what_processes_must_have_in_common():
    one = comparable(record())
    assert comparable(record(study="/another/path", init="there")) == one
    for other, name in (
        (comparable(record(**{"mesh.fsdp": 2})), "config.mesh.fsdp"),
        (comparable(record() | {"init": {"sha256": "2"}}), "init"),
        (comparable(record() | {"files": {}}), "file samples.parquet of the study"),
        (comparable(record() | {"panel": {"genes": ["A"]}}), "gene panel"),
        (comparable(record() | {"versions": {"jax": "3"}}), "version of jax"),
        (comparable(record() | {"layout": {"devices": 4}}), "layout.devices"),
        (
            comparable(record() | {"study": {"name": "s", "fingerprint": "g"}}),
            "study",
        ),
    ):
        assert other.get(name) != one[name]


def test_what_keeps_a_run_from_going_on_bit_for_bit_is_said():
    here = record()
    meta = here | {"step": 5}
    assert continuation(meta, here) == ""
    # A checkpoint from before the layout was noted says nothing of it.
    assert continuation({k: v for k, v in meta.items() if k != "layout"}, here) == ""
    elsewhere = here | {
        "layout": here["layout"] | {"devices": 4, "data": 2},
        "versions": {"pathjax": "1", "jax": "3"},
    }
    told = continuation(meta, elsewhere)
    assert told.startswith("resuming from step 5, saved elsewhere")
    assert "layout devices: 8 there, 4 here" in told
    assert "versions jax: 2 there, 3 here" in told
    assert "pathjax" not in told
