"""Models x tasks on a study, with the audit before anything is scored."""

import dataclasses
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from tiny_study import config_for

from pathjax.cli import main
from pathjax.data.study import Study
from pathjax.embeddings import shared_space
from pathjax.embeddings.shared_space import joint_embeddings
from pathjax.evals import EvalError
from pathjax.evals.audit import audit_tasks
from pathjax.evals.candidates import PERMUTED, Candidate, weights_of
from pathjax.evals.evaluate import _audit_all, evaluate, open_studies
from pathjax.evals.results import read_results
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.models.model_file import load_model, save_model
from pathjax.parallel.shard import Shard, held
from pathjax.report.table import load_table
from pathjax.train.trainer import train


@pytest.fixture(scope="module")
def runs(tiny_study, tmp_path_factory):
    """A base and a contrastive model tuned from it, both barely trained."""
    root = tmp_path_factory.mktemp("runs")
    train(config_for(tiny_study), root / "base")
    train(config_for(tiny_study, init=str(root / "base")), root / "tuned")
    return root


def candidates(runs):
    return [
        Candidate("colours", "handcrafted"),
        Candidate("base", str(runs / "base")),
        Candidate("tuned", str(runs / "tuned"), "base", 0),
    ]


def tasks(test="val"):
    folds = {"split": "main", "fit": "train", "test": test}
    return [
        Task("class", "tiny", "tile_class", "classification", level="tile", **folds),
        Task("latent", "tiny", "latent", "regression", **folds),
        Task("genes", "tiny", None, "expression", genes=5, **folds),
        Task("recall", "tiny", None, "retrieval", "main", None, test),
    ]


def test_everything_is_scored_and_written(tiny_study, runs, tmp_path):
    evaluate(candidates(runs), tiny_study, tasks(), tmp_path)
    entries = read_results(tmp_path).entries
    scored = {(entry["model"], entry["task"]) for entry in entries}
    assert len(scored) == 3 * 3 + 2  # only contrastive models can retrieve
    assert ("colours", "recall") not in scored
    # Tiles are as bright as the latent that they were made from.
    values = {(e["model"], e["task"]): e["value"] for e in entries}
    assert values["colours", "class"] > 0.9
    status = {(e["model"], e["task"]): e["audit"]["status"] for e in entries}
    assert status["tuned", "class"] == "clean"


def test_a_second_run_computes_only_what_is_new(tiny_study, runs, tmp_path):
    evaluate(candidates(runs)[:1], tiny_study, tasks()[:2], tmp_path)
    first = json.loads((tmp_path / "results.json").read_text())["entries"]
    notes = []
    evaluate(
        candidates(runs)[:2],
        tiny_study,
        tasks()[:2],
        tmp_path,
        progress=lambda done, note: notes.append(note),
    )
    assert notes == ["colours", "base: embedding tiny", "base: class",
                     "base: latent", "base"]  # fmt: skip
    second = read_results(tmp_path).entries
    assert [e for e in second if e["model"] == "colours"] == first


def test_a_killed_evaluation_goes_on_after_the_last_result(
    tiny_study, runs, tmp_path, monkeypatch
):
    asked = []

    def killed(task, *rest, **more):
        asked.append(task.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return run_task(task, *rest, **more)

    monkeypatch.setattr("pathjax.evals.evaluate.run_task", killed)
    one = candidates(runs)[1:2]
    with pytest.raises(KeyboardInterrupt):
        evaluate(one, tiny_study, tasks()[:3], tmp_path)
    assert [e["task"] for e in read_results(tmp_path).entries] == ["class"]
    evaluate(one, tiny_study, tasks()[:3], tmp_path)
    assert asked == ["class", "latent", "latent", "genes"]


def comparable(root):
    """Entries without who wrote them and when; the rows are compared by their hash."""
    entries = read_results(root).entries
    return [{k: v for k, v in entry.items() if k != "written"} for entry in entries]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_shards_join_to_the_results_of_one_process(
    tiny_study, runs, tmp_path, count, caplog
):
    permuted = dataclasses.replace(
        candidates(runs)[1], name=f"base ({PERMUTED})", control=PERMUTED
    )
    what = [*candidates(runs), permuted], tiny_study, tasks()[:1]
    evaluate(*what, tmp_path / "once")
    out = tmp_path / "joined"
    for k in range(count, 1, -1):
        evaluate(*what, out, shard=Shard(k, count))
    if count == 2:  # pairs: colours, base with its control, tuned
        assert {e["model"] for e in comparable(out)} == {"base", permuted.name}
        evaluate(*what, out, shard=Shard(4, 4))
    assert "shard 4/4 has nothing to do: there are 3 pairs" in caplog.text
    with held(out / ".shards", Shard(1, count), ValueError):
        for shard in (Shard(1, count), None):
            with pytest.raises(EvalError, match="in use by another process .pid"):
                evaluate(*what, out, shard=shard)
    notes = []
    evaluate(*what, out, progress=lambda done, note: notes.append(note))
    assert "colours: embedding tiny" in notes  # the shard that was not run
    assert "base: embedding tiny" not in notes
    assert comparable(out) == comparable(tmp_path / "once")


def test_another_declaration_or_protocol_is_another_result(tiny_study, runs, tmp_path):
    one, task = candidates(runs)[1:2], tasks()[2]
    evaluate(one, tiny_study, [task], tmp_path)
    evaluate(one, tiny_study, [dataclasses.replace(task, genes=4)], tmp_path)
    (entry,) = read_results(tmp_path).entries
    assert entry["declared"]["genes"] == 4 and len(entry["per_fold"]) == 5
    evaluate(one, tiny_study, [dataclasses.replace(task, genes=4)], tmp_path, seeds=1)
    (entry,) = read_results(tmp_path).entries
    assert entry["protocol"] == "ridge/1 (seeds=1)" and len(entry["per_fold"]) == 1


def test_tasks_of_several_studies_make_one_table(tiny_study, runs, tmp_path):
    folder = tmp_path / "studies"
    shutil.copytree(tiny_study.root, folder / "one")
    shutil.copytree(tiny_study.root, folder / "two")
    meta = json.loads((folder / "two" / "study.json").read_text())
    (folder / "two" / "study.json").write_text(json.dumps(meta | {"name": "other"}))
    studies = open_studies([folder])
    first = tasks()[0]
    second = dataclasses.replace(first, name="again", study="other")
    evaluate(candidates(runs)[1:2], studies, [first, second], tmp_path / "out")
    one, two = read_results(tmp_path / "out").entries
    assert (one["study"], two["study"]) == ("tiny", "other")
    assert one["value"] == two["value"]
    names = sorted(path.name for path in (tmp_path / "out" / "embeddings").iterdir())
    assert names == ["other-base.h5", "tiny-base.h5"]
    with pytest.raises(ValueError, match="are both called tiny"):
        evaluate([], [tiny_study, studies[0]], [first], tmp_path / "x")
    with pytest.raises(ValueError, match="expected a folder with study.json"):
        open_studies([tmp_path / "out"])


def test_test_patients_seen_in_training_are_an_error_unless_named(
    tiny_study, runs, tmp_path
):
    leaking = [Task("leak", "tiny", "latent", "regression", "main", "val", "train")]
    with pytest.raises(EvalError, match="leak"):
        evaluate(candidates(runs), tiny_study, leaking, tmp_path)
    assert not (tmp_path / "results.json").exists()
    evaluate(
        candidates(runs)[1:], tiny_study, leaking, tmp_path, allow_overlap=["leak"]
    )
    assert read_results(tmp_path).entries[0]["audit"]["status"] == "allowed"


def test_a_file_of_random_weights_is_untrained_not_of_unknown_training(
    tiny_study, runs, tmp_path
):
    model = load_model(runs / "base")
    statuses = []
    for meta in ({"untrained": True, "audit": []}, {"audit": []}, {"untrained": True}):
        one = dataclasses.replace(model, meta=model.meta | meta)
        (tmp_path / "random").mkdir(exist_ok=True)
        save_model(tmp_path / "random", one)
        candidate = Candidate("random", str(tmp_path / "random"))
        weights = weights_of([candidate])
        studies = {tiny_study.name: tiny_study}
        found = _audit_all([candidate], weights, studies, tasks()[:1], ())
        (task,) = found[candidate].values()
        (*_, told) = audit_tasks(tasks()[:1], [tiny_study], models=[candidate.path])
        assert told["status"] == task["status"]
        statuses.append(task["status"])
    # What was trained stays that, whatever the file says of itself.
    assert statuses == ["untrained", "unknown", "clean"]


def test_a_task_that_cannot_be_scored_is_listed_and_the_others_go_on(
    tiny_study, tmp_path, capsys
):
    good = tasks()[0]
    bad = dataclasses.replace(good, name="one class", classes=("light",))
    words = ["evaluate", "colours=handcrafted", "--study", str(tiny_study.root)]
    words += ["--out", str(tmp_path / "out"), "--tasks", str(tmp_path / "tasks.json")]
    listed = [dataclasses.asdict(task) for task in (bad, good)]
    (tmp_path / "tasks.json").write_text(json.dumps(listed))
    assert main(words) == 1
    error = capsys.readouterr().err
    assert "not scored: colours: task one class: expected at least two classes" in error
    results = read_results(tmp_path / "out")
    assert [entry["task"] for entry in results.entries] == ["class"]
    assert [entry["task"] for entry in results.unscored] == ["one class"]
    table = load_table([tmp_path / "out"])
    assert table.tasks == ["class", "one class", "mean delta"]
    assert any(
        note.startswith(
            "NOT SCORED: one class (colours): expected at least two classes"
        )
        for note in table.notes
    )
    # Once it can be scored it is, and no longer listed.
    listed[0]["classes"] = []
    (tmp_path / "tasks.json").write_text(json.dumps(listed))
    assert main([*words, "--seeds", "1"]) == 0
    results = read_results(tmp_path / "out")
    assert len(results.entries) == 2 and not results.unscored
    assert {e["protocol"] for e in results.entries} == {"linear/1 (seeds=1)"}


def test_problems_are_found_before_anything_is_scored(tiny_study, runs, tmp_path):
    bad = [Task("bad", "tiny", "colour", "classification", "main", "train", "test")]
    with pytest.raises(EvalError, match="unknown target 'colour'"):
        evaluate(candidates(runs), tiny_study, bad, tmp_path)
    orphan = [Candidate("tuned", str(runs / "tuned"), "bsae", 0)]
    with pytest.raises(
        ValueError, match="the base of .* is not given; expected one of"
    ):
        evaluate(orphan, tiny_study, tasks(), tmp_path)


def test_joint_space(tiny_study, runs):
    images, partners = joint_embeddings(load_model(runs / "tuned"), tiny_study)
    assert images.shape == (72, 8) and partners.shape == (12, 8)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(partners, axis=1), 1, atol=1e-5)


def test_joint_space_takes_no_image_for_a_sample(tiny_study, runs, monkeypatch):
    seen = []

    def recording(function):
        compiled = jax.jit(function)

        def call(params, inputs):
            seen.append(set(inputs))
            return compiled(params, inputs)

        return call

    monkeypatch.setattr(shared_space, "jax", SimpleNamespace(jit=recording))
    joint_embeddings(load_model(runs / "tuned"), tiny_study)
    # A blank for each of 10^5 spots would be 15 GB.
    assert "image" in seen[0] and "image" not in seen[-1]


def test_joint_space_without_all_expression(tiny_study, runs, tmp_path):
    shutil.copytree(tiny_study.root, tmp_path / "s")
    tiny_study.expression()[1:].copy().write_h5ad(tmp_path / "s" / "expression.h5ad")
    model = load_model(runs / "tuned")
    _, whole = joint_embeddings(model, tiny_study)
    _, partners = joint_embeddings(model, Study(tmp_path / "s"))
    assert np.isnan(partners[0]).all()
    np.testing.assert_allclose(partners[1:], whole[1:], atol=1e-5)
