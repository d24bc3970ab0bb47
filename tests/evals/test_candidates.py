"""Results are kept while what they depend on is the same, and redone or refused else."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_study import config_for

from pathjax.data.study import Study, sha256
from pathjax.evals import EvalError
from pathjax.evals.candidates import (
    Candidate,
    control_of,
    expand_blend,
    parse_candidate,
    weights_of,
    with_controls,
)
from pathjax.evals.evaluate import evaluate
from pathjax.evals.protocols import PROTOCOLS, Protocol
from pathjax.evals.results import read_predictions, read_results
from pathjax.evals.tasks import Task
from pathjax.models.blend import blend
from pathjax.models.model_file import FILE, load_model, parameters_sha256, save_model
from pathjax.report.notes import notes_of
from pathjax.train import train

TASK = Task("latent", "tiny", "latent", "regression", "main", "train", "val")


@pytest.fixture(scope="module")
def trained(tiny_study, tmp_path_factory):
    """A base, and a model tuned from it."""
    root = tmp_path_factory.mktemp("runs")
    short = {"optim.steps": 2, "objective.name": "regression"}
    train(config_for(tiny_study, **short), root / "base")
    tuned = short | {"init": str(root / "base"), "model.variant": ""}
    train(config_for(tiny_study, **tuned), root / "tuned")
    return root


@pytest.fixture
def models(trained, tmp_path):
    """Copies to change."""
    return shutil.copytree(trained, tmp_path / "models")


def candidates(models):
    return [
        Candidate("base", str(models / "base")),
        Candidate("tuned", str(models / "tuned"), "base", 0),
    ]


def change(folder, by=1.0):
    """Other weights under the same path."""
    model = load_model(folder)
    model.params["vit"]["cls_token"] = model.params["vit"]["cls_token"] + by
    save_model(folder, model)


def scored(asked, study, out, task=TASK):
    """Names of the models that an evaluation computes."""
    notes = []
    evaluate(asked, study, [task], out, progress=lambda done, note: notes.append(note))
    return [note.split(":")[0] for note in notes if note.endswith(task.name)]


def truths(out):
    """The labels that each model was scored on."""
    entries = read_results(out).entries
    return {e["model"]: read_predictions(out, e)["truth"] for e in entries}


def test_results_carry_the_hashes_of_all_that_they_depend_on(
    tiny_study, models, tmp_path
):
    out = tmp_path / "out"
    assert scored(candidates(models), tiny_study, out) == ["base", "tuned (seed 0)"]
    assert scored(candidates(models), tiny_study, out) == []
    base, tuned = read_results(out).entries
    of_base, of_tuned = (sha256(models / name / FILE) for name in ("base", "tuned"))
    assert base["inputs"]["weights"] == of_base and not base["inputs"]["base_weights"]
    assert tuned["inputs"]["weights"] == of_tuned
    assert tuned["inputs"]["base_weights"] == tuned["inputs"]["lineage"] == [of_base]
    files = tuned["inputs"]["files"]
    path = tiny_study.root / "splits" / "main.json"
    assert files["splits/main.json"] == sha256(path) and "samples.parquet" in files
    assert set(tuned["software"]) == {"pathjax", "git_commit", "jax", "python"}


def test_a_replaced_checkpoint_or_base_is_redone(tiny_study, models, tmp_path, caplog):
    out = tmp_path / "out"
    evaluate(candidates(models), tiny_study, [TASK], out)
    change(models / "tuned")
    assert scored(candidates(models), tiny_study, out) == ["tuned (seed 0)"]
    change(models / "base")
    assert len(scored(candidates(models), tiny_study, out)) == 2
    assert "was not tuned from these weights of base" in caplog.text


def test_another_base_is_redone(tiny_study, models, tmp_path):
    out = tmp_path / "out"
    evaluate(candidates(models), tiny_study, [TASK], out)
    base, tuned = candidates(models)
    other = Candidate("other", base.path)
    asked = [other, Candidate("tuned", tuned.path, "other", 0)]
    assert scored(asked, tiny_study, out) == ["other", "tuned (seed 0)"]
    entries = {entry["model"]: entry for entry in read_results(out).entries}
    assert entries["tuned"]["base"] == "other"


@pytest.mark.parametrize("file", ["samples.parquet", "splits/main.json"])
def test_labels_and_splits_are_compared_as_read(broken_copy, models, tmp_path, file):
    """Whatever study.json has recorded of them."""
    out, path = tmp_path / "out", broken_copy.root / file
    evaluate(candidates(models), broken_copy, [TASK], out)
    before = truths(out)
    if file == "samples.parquet":
        samples = broken_copy.samples
        samples.assign(latent=np.sin(7 * samples["latent"])).to_parquet(path)
    else:
        split = json.loads(path.read_text())
        folds = split["folds"]
        folds["val"], folds["test"] = folds["val"] + folds["test"], []
        path.write_text(json.dumps(split))
    changed = Study(broken_copy.root)
    with pytest.raises(EvalError, match=f"base, latent: {file} changed.*--out"):
        evaluate([Candidate("new", str(models / "base"))], changed, [TASK], out)
    assert len(scored(candidates(models), changed, out)) == 2
    after = truths(out)
    assert all(not np.array_equal(after[name], before[name]) for name in before)


def test_a_protocol_that_changed_under_its_name_is_redone(
    tiny_study, models, tmp_path, monkeypatch
):
    out, (base, _) = tmp_path / "out", candidates(models)
    assert scored([base], tiny_study, out) == ["base"]
    ridge = PROTOCOLS["ridge/1"]
    changed = Protocol(ridge.name, ridge.probe, over_folds="mean")
    monkeypatch.setitem(PROTOCOLS._items, "ridge/1", changed)
    assert scored([base], tiny_study, out) == ["base"]


def test_a_base_that_others_were_compared_with_is_not_replaced_alone(
    tiny_study, models, tmp_path
):
    out = tmp_path / "out"
    evaluate(candidates(models), tiny_study, [TASK], out)
    change(models / "base")
    with pytest.raises(EvalError, match="tuned .*latent: the base's weights changed"):
        evaluate(candidates(models)[:1], tiny_study, [TASK], out)


def test_results_of_an_earlier_version_are_redone(tiny_study, models, tmp_path, caplog):
    out, (base, tuned) = tmp_path / "out", candidates(models)
    evaluate([base, tuned], tiny_study, [TASK], out)
    path = out / "results.json"
    content = json.loads(path.read_text())
    for entry in content["entries"]:
        del entry["inputs"]
    path.write_text(json.dumps(content))
    assert scored([base], tiny_study, out) == ["base"]
    assert "1 results of an earlier version" in caplog.text


def test_the_audit_follows_the_lineage(tiny_study, models, tmp_path):
    """A file that has forgotten what its base was trained on is not clean."""
    tuned = load_model(models / "tuned")
    tuned.meta["audit"] = [tuned.meta["audit"][-1] | {"patients": [], "slides": []}]
    save_model(models / "tuned", tuned)
    leak = Task("leak", "tiny", "latent", "regression", "main", "val", "train")
    for base in ("base", None):  # declared, and by hash alone
        asked = [Candidate("tuned", str(models / "tuned"), base, 0)]
        asked.append(Candidate("base", str(models / "base")))
        with pytest.raises(EvalError, match="tuned .*was trained on patients.*leak: "):
            evaluate(asked, tiny_study, [leak], tmp_path / "out")
    del tuned.meta["lineage"]
    save_model(models / "tuned", tuned)
    evaluate([Candidate("x", str(models / "tuned"))], tiny_study, [leak], tmp_path)


def test_rows_that_are_newer_than_their_result_are_computed_again(
    tiny_study, models, tmp_path
):
    """As a kill between the two files leaves them."""
    out, asked = tmp_path / "out", candidates(models)[:1]
    evaluate(asked, tiny_study, [TASK], out)
    (entry,) = read_results(out).entries
    path = out / entry["predictions"]
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"truth": arrays["truth"] + 1})
    with pytest.raises(EvalError, match="is not the file that was written with"):
        read_predictions(out, entry)
    assert scored(asked, tiny_study, out) == ["base"]
    path.unlink()
    assert scored(asked, tiny_study, out) == ["base"]


def test_one_checkpoint_is_not_several_seeds(models, tmp_path):
    path = models / "tuned"
    copy = shutil.copytree(path, tmp_path / "copy")
    model = load_model(copy)
    save_model(copy, type(model)(model.params, model.vit, model.meta | {"name": "x"}))
    assert sha256(copy / FILE) != sha256(path / FILE)
    assert parameters_sha256(copy) == parameters_sha256(path / FILE)
    seeds = [Candidate("t", str(p), "b", i) for i, p in enumerate((path, path, copy))]
    with pytest.raises(EvalError) as error:
        weights_of(seeds)
    assert "t (seed 0) and t (seed 1) have the same parameters" in str(error.value)
    assert "t (seed 0) and t (seed 2) have the same" in str(error.value)
    change(copy)
    assert len(weights_of([seeds[0], seeds[2]])) == 2


def test_a_seed_is_given_once(models):
    twice = [Candidate("t", str(models / name), None, 1) for name in ("base", "tuned")]
    with pytest.raises(EvalError, match=r"t \(seed 1\) is given 2 times"):
        weights_of(twice)
    with pytest.raises(EvalError, match="t is given 2 times"):
        weights_of([Candidate("t", "handcrafted")] * 2)


def test_a_model_replaced_during_the_evaluation_is_refused(
    tiny_study, models, tmp_path, monkeypatch
):
    def replaced(path):
        model = load_model(path)
        change(Path(path))
        return model

    monkeypatch.setattr("pathjax.evals.evaluate.load_model", replaced)
    with pytest.raises(EvalError, match="was replaced during the evaluation"):
        evaluate(candidates(models)[:1], tiny_study, [TASK], tmp_path / "out")


def test_candidates_are_read_from_words():
    assert parse_candidate("base=runs/a=b") == Candidate("base", "runs/a=b")
    tuned = parse_candidate("contrastive:base@2=runs/c")
    assert tuned == Candidate("contrastive", "runs/c", "base", 2)
    with pytest.raises(ValueError, match="expected NAME=PATH"):
        parse_candidate("runs/c")


def test_patients_that_chose_the_model_are_named(tiny_study, tmp_path):
    """Not trained on, but its best step was best on them."""
    values = {"val_fold": "val", "eval.every": 1, "optim.steps": 2}
    values |= {"objective.name": "regression"}
    train(config_for(tiny_study, **values), tmp_path / "run")
    meta = load_model(tmp_path / "run").meta
    assert meta["audit"][0]["selection"] == ["P08", "P09"]
    models = [Candidate("chosen", str(tmp_path / "run"))]
    evaluate(models, tiny_study, [TASK], tmp_path / "out")
    (entry,) = read_results(tmp_path / "out").entries
    assert entry["audit"]["status"] == "clean" and entry["audit"]["selected_on"] == 2
    assert any(
        "chosen: chosen by a validation on 2 of the test patients" in note
        for note in notes_of([entry], [], [], 10)
    )


def test_a_blend_is_scored_at_every_alpha(models, tiny_study, tmp_path):
    """At alpha 0 as the base, at 1 as the tuned model; both saw the same patients."""
    blend(models / "base", [models / "tuned"], [0, 0.5, 1], models / "blend")
    given = [*candidates(models), parse_candidate(f"b:base={models / 'blend'}")]
    every = [one for model in given for one in expand_blend(model)]
    names = [one.name for one in every[2:]]
    assert names == ["b alpha 0", "b alpha 0.5", "b alpha 1"]
    out = tmp_path / "out"
    evaluate(every, tiny_study, [TASK], out)
    entries = {one["model"]: one for one in read_results(out).entries}
    scores = {name: entry["value"] for name, entry in entries.items()}
    assert scores["b alpha 0"] == scores["base"]
    assert scores["b alpha 1"] == scores["tuned"]
    assert entries["b alpha 0.5"]["audit"]["stages"] == ["tiny"]


def test_a_model_is_a_control_by_its_own_file(tiny_study, trained, tmp_path):
    init = {"init": str(trained / "base"), "model.variant": "", "optim.steps": 2}
    shuffled = {"objective.name": "regression", "data.pairing": "shuffled"}
    train(config_for(tiny_study, **init, **shuffled), tmp_path / "shuffled")
    asked = [
        Candidate("base", str(trained / "base")),
        Candidate("tuned", str(trained / "tuned"), "base", 0),
        Candidate("tuned", str(tmp_path / "shuffled"), "base", 0),
    ]
    named = with_controls(asked, ("permuted", "handcrafted"))
    assert [(one.name, one.control) for one in named] == [
        ("base", ""),
        ("tuned", ""),
        ("tuned (shuffled pairs)", "shuffled pairs"),
        ("base (permuted labels)", "permuted labels"),
        ("handcrafted", ""),
    ]
    assert with_controls(named) == named
    scored(named, tiny_study, tmp_path / "out")
    entries = read_results(tmp_path / "out").entries
    controls = {entry["model"]: entry.get("control") for entry in entries}
    assert controls == {one.name: one.control or None for one in named}
    rows = {e["model"]: read_predictions(tmp_path / "out", e) for e in entries}
    own, permuted = rows["base"], rows["base (permuted labels)"]
    np.testing.assert_array_equal(own["truth"], permuted["truth"])
    assert (own["prediction"] != permuted["prediction"]).all()
    assert len(list((tmp_path / "out" / "embeddings").glob("*.h5"))) == 4


def test_self_supervision_from_a_model_is_a_control():
    dino = {"config": {"objective": {"name": "dino"}}}
    assert control_of(dino) == ""
    assert control_of(dino | {"lineage": [{}]}) == "more self-supervision"
    assert control_of({}) == ""
