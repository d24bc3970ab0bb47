import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_bucket import another_machine, empty_store

from pathjax.buckets import local, store
from pathjax.evals import EvalError
from pathjax.evals.results import (
    entry_problems,
    git_commit,
    make_entry,
    read_predictions,
    read_results,
    write_results,
)
from pathjax.evals.tasks import Task, TaskOutcome

TASK = Task("task/one", "made", "y", "classification", "cohort", "fit", "test")


def outcome(value=0.5, task=TASK, study="made"):
    return TaskOutcome(
        task=task,
        study=study,
        fingerprint="abc",
        synthetic=True,
        protocol="linear/1",
        metric="balanced_accuracy",
        value=value,
        chance=0.5,
        truth=np.array([0, 1, 1], np.int32),
        prediction=np.array([0, 1, 0], np.int32),
        columns=("no", "yes"),
        unit=np.array(["a", "b", "c"]),
        patient=np.array(["P1", "P1", "Pé"]),
        stratum=np.zeros(3, np.int64),
        combine="within",
        shared_patients=(),
        hyper={"strength": 0.1},
        per_fold=[{"fold": "test", "value": value}],
    )


def entry(made, **more):
    return make_entry(made, **({"model": "m", "seed": 0} | more))


def test_what_is_written_is_read(tmp_path):
    made = outcome()
    path = write_results(tmp_path / "run", [(entry(made, base="b"), made)])
    results = read_results(path)
    assert results.root == tmp_path / "run"
    assert {"pathjax", "git_commit", "jax", "command", "time"} <= set(
        results.provenance
    )
    (read,) = results.entries
    assert (read["model"], read["base"], read["task"]) == ("m", "b", "task/one")
    assert read["folds"] == {"fit": "fit", "select": None, "test": "test"}
    assert (read["n"], read["n_patients"]) == (3, 2)
    rows = read_predictions(results.root, read)
    np.testing.assert_array_equal(rows["truth"], made.truth)
    np.testing.assert_array_equal(rows["patient"], made.patient)
    assert rows["patient"].dtype.kind == "U" and list(rows["columns"]) == ["no", "yes"]


def test_a_second_run_replaces_its_entries_and_keeps_others(tmp_path):
    first, second = outcome(0.5), outcome(0.9)
    write_results(tmp_path, [(entry(first), first), (entry(first, seed=1), first)])
    write_results(tmp_path, [(entry(second), second), (entry(second, model="n"), None)])
    entries = read_results(tmp_path).entries
    values = {(one["model"], one["seed"]): one["value"] for one in entries}
    assert values == {("m", 0): 0.9, ("m", 1): 0.5, ("n", 0): 0.9}
    assert [one["predictions"] is None for one in entries] == [False, False, True]


def test_names_that_read_alike_get_files_of_their_own(tmp_path):
    made = outcome()
    pairs = [(entry(made, model=name), made) for name in ("a b", "a/b", "../../a")]
    write_results(tmp_path, pairs)
    files = sorted((tmp_path / "predictions").iterdir())
    assert len(files) == 3
    assert all(one.suffix == ".npz" for one in files)


def test_one_task_name_stands_for_one_study(tmp_path):
    write_results(tmp_path, [(entry(outcome()), None)])
    other = outcome(study="elsewhere")
    with pytest.raises(EvalError, match="of study made and of study elsewhere"):
        write_results(tmp_path, [(entry(other, model="n"), None)])


def test_bad_entries_are_refused_together_and_nothing_is_written(tmp_path):
    made = entry(outcome())
    bad = [{**made, "value": float("nan")}, {**made, "seed": "0"}]
    del bad[1]["chance"]
    with pytest.raises(EvalError) as caught:
        write_results(tmp_path / "run", [(one, None) for one in bad])
    message = str(caught.value)
    assert "entry 0: expected value to be finite, got nan" in message
    assert "entry 1 lacks chance" in message
    assert "entry 1: expected seed to be int or NoneType, got '0'" in message
    assert not (tmp_path / "run").exists()
    assert entry_problems(3, "entry 7") == ["entry 7: expected an object, got int"]
    assert "to be int" in entry_problems({**made, "n": True}, "e")[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "run `pathjax evaluate` first"),
        ("{", "is not JSON"),
        ("[]", "expected schema 2, got None"),
        ('{"schema": 1}', "expected schema 2, got 1"),
        ('{"schema": 2, "entries": []}', "lacks provenance"),
        ('{"schema": 2, "entries": [{}], "provenance": {}}', "entry 0 lacks model"),
    ],
)
def test_files_that_are_not_ours_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    with pytest.raises(EvalError, match=message):
        read_results(tmp_path)


def test_predictions_outside_the_run_or_lacking_arrays_are_refused(tmp_path):
    made = outcome()
    write_results(tmp_path / "run", [(entry(made), made)])
    (read,) = read_results(tmp_path / "run").entries
    np.savez(tmp_path / "secret.npz", truth=1)
    for name in ("../secret.npz", "predictions/gone.npz"):
        with pytest.raises(EvalError, match="copy the run folder whole"):
            read_predictions(tmp_path / "run", {**read, "predictions": name})
    np.savez(tmp_path / "run" / "part.npz", truth=1)
    with pytest.raises(EvalError, match="lacks prediction, patient"):
        read_predictions(tmp_path / "run", {**read, "predictions": "part.npz"})


def test_pickles_are_never_loaded(tmp_path):
    wanted = ("prediction", "patient", "unit", "stratum", "columns")
    np.savez(
        tmp_path / "bad.npz", truth=np.array([{}], object), **dict.fromkeys(wanted, 1)
    )
    with pytest.raises(ValueError, match="allow_pickle"):
        read_predictions(
            tmp_path, {"predictions": "bad.npz", "model": "m", "task": "t"}
        )


def _write(root, model):
    write_results(root, [(entry(outcome(), model=model), outcome())])


# Each opens the lock file itself, so threads exclude each other as processes do.
def test_writers_at_the_same_time_lose_nothing(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: _write(tmp_path, f"m{i}"), range(8)))
    models = {one["model"] for one in read_results(tmp_path).entries}
    assert models == {f"m{i}" for i in range(8)}
    assert not list(tmp_path.glob(".partial*"))


def test_machines_that_share_a_bucket_keep_each_other_s_results(tmp_path, monkeypatch):
    empty_store()
    another_machine(tmp_path / "cache", monkeypatch)
    root = local("faulty://b/out")
    _write(root, "mine")
    _write(tmp_path / "theirs", "theirs")  # meanwhile, on another machine
    for path in (tmp_path / "theirs").rglob("*.*"):
        if path.is_file() and path.name[0] != ".":
            name = path.relative_to(tmp_path / "theirs").as_posix()
            store.upload(path, f"faulty://b/out/{name}")
    _write(root, "mine too")
    another_machine(tmp_path / "cache two", monkeypatch)
    found = read_results("faulty://b/out")
    assert {one["model"] for one in found.entries} == {"theirs", "mine too"}
    assert all(read_predictions(found.root, one) for one in found.entries)


def test_commit_of_a_checkout_only(tmp_path):
    assert git_commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert git_commit(tmp_path) is None  # not a repository after all


def test_json_holds_no_nan(tmp_path):
    made = outcome()
    bad = entry(made)
    bad["hyper"] = {"loss": float("inf")}
    with pytest.raises(ValueError, match="Out of range float"):
        write_results(tmp_path, [(bad, None)])
    assert not (tmp_path / "results.json").exists()
    json.dumps(entry(made), allow_nan=False)
