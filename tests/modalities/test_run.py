"""The whole matrix: same rows, all rows, resuming, and what stands in the results."""

import dataclasses
import json

import numpy as np
import pytest
from modalities_made import made_cohort

from pathjax.data.study import Target
from pathjax.files import command_line
from pathjax.modalities import run as runs
from pathjax.modalities.cell import METRICS_OF_KIND
from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.features import Preparation
from pathjax.modalities.figures import write_all
from pathjax.modalities.run import (
    Options,
    ask,
    asked_of,
    combinations_of,
    run,
    tells,
)

SMALL = Options(folds=3, least=5, prepare=Preparation(50, 16))


def made(seed=0):
    whole = made_cohort(lacking=9, seed=seed)
    two = {name: whole.modalities[name] for name in ("rna", "text")}
    return dataclasses.replace(whole, modalities=two)


@pytest.fixture(scope="module")
def cohort():
    return made()


@pytest.fixture(scope="module")
def done(cohort, tmp_path_factory):
    out = tmp_path_factory.mktemp("matrix")
    return out, run(cohort, [cohort.question("kind")], out, SMALL)


def test_modalities_are_compared_on_the_same_rows(done):
    cells = done[1]["cells"]
    n = {(" ".join(one["modalities"]), one["rows"]): one["n"] for one in cells}
    assert {n[key] for key in n if key[1] == "common"} == {51}
    assert n["rna", "all"] == 60
    # What has text is what has all: it is there once.
    assert len(n) == 3 + 1 and ("text", "all") not in n


def test_results_say_what_was_done(done):
    out, result = done
    assert json.loads((out / "results.json").read_text()) == result
    assert result["protocol"] == "modalities/1" and result["synthetic"]
    assert result["options"]["folds"] == 3
    assert {one["kind"] for one in result["cells"]} == {"class"}
    assert result["command"] == command_line()


def test_folds_are_patients(cohort):
    several = made_cohort(30, per_patient=2)
    got = ask(several, several.question("kind"), SMALL)
    fold = {}
    for patient, one in zip(several.patients[got.rows], got.fold, strict=True):
        assert fold.setdefault(patient, one) == one
    # Stratified: each fold has both classes alike.
    for one in range(3):
        assert abs(np.mean(got.truth[got.fold == one]) - 0.5) < 0.11


def test_a_second_run_computes_nothing_and_a_changed_one_does(
    cohort, done, monkeypatch
):
    out, result = done
    questions = [cohort.question("kind")]

    def refuse(*_, **__):
        raise AssertionError("it was computed again")

    monkeypatch.setattr(runs, "predict", refuse)
    assert run(cohort, questions, out, SMALL)["cells"] == result["cells"]
    with pytest.raises(AssertionError, match="again"):
        run(made(seed=1), questions, out, SMALL)
    with pytest.raises(AssertionError, match="again"):
        run(cohort, questions, out, Options(folds=4, least=5))


def test_predictions_are_kept_beside_the_record(done):
    out, result = done
    files = sorted((out / "cells").glob("*.npz"))
    assert len(files) == len(result["cells"])
    with np.load(files[0], allow_pickle=False) as kept:
        assert set(kept) == {"sample_id", "truth", "score", "fold"}


def test_rare_classes_are_left_out_and_named(cohort):
    samples = cohort.samples.copy()
    samples.loc[:2, "kind"] = "rare"
    rare = dataclasses.replace(
        cohort,
        samples=samples,
        targets={**cohort.targets, "kind": Target("kind", "sample", "class")},
    )
    got = ask(rare, rare.question("kind"), SMALL)
    assert got.left_out == {"rare": 3} and got.classes == ("a", "b")
    with pytest.raises(ModalityError, match="expected two"):
        ask(rare, rare.question("kind"), Options(least=29))


def test_classes_that_few_have_of_the_rows_of_a_cell_are_left_out(tmp_path):
    """All patients of a class may be many, and few of them have a report."""
    whole = made()
    kind = np.array([*["c"] * 9, *["a", "b"] * 26][:60], object)
    samples = whole.samples.assign(kind=kind)
    text = whole.modalities["text"]  # of the first nine none has one
    cohort = dataclasses.replace(
        whole,
        samples=samples,
        targets={"kind": Target("kind", "sample", "class", ("a", "b", "c"))},
        modalities={"rna": whole.modalities["rna"], "text": text},
    )
    result = run(cohort, [cohort.question("kind")], tmp_path, SMALL)
    found = {(*one["modalities"], one["rows"]): one for one in result["cells"]}
    for key in (("rna", "common"), ("text", "common"), ("rna", "text", "common")):
        assert list(found[key]["classes"]) == ["a", "b"]
        assert found[key]["left_out"] == {"c": 0}
    assert found["rna", "all"]["classes"] == {"a": 26, "b": 25, "c": 9}
    assert result["left_out"] == []
    alone = samples.assign(kind=np.where(np.arange(60) < 9, "c", "a"))
    cohort = dataclasses.replace(cohort, samples=alone)
    result = run(cohort, [cohort.question("kind")], tmp_path, SMALL)
    assert [one["rows"] for one in result["cells"]] == ["all"]
    assert result["left_out"] == [
        "kind on samples with rna, text: fewer than two classes have 5 patients"
    ]


def test_no_cell_at_all_is_an_error(cohort, tmp_path):
    alone = dataclasses.replace(cohort, modalities={"rna": cohort.modalities["rna"]})
    with pytest.raises(
        ModalityError, match="nothing to predict: each modality is what"
    ):
        run(alone, [alone.question("expression")], tmp_path, SMALL)


def test_combinations_come_after_the_single_ones():
    assert combinations_of("ab", True) == [("a",), ("b",), ("a", "b")]
    assert combinations_of("ab", False) == [("a",), ("b",)]


def survival_cohort(patients=60):
    """RNA tells survival; age a little; half of the patients are of each type."""
    cohort = made_cohort(patients)
    samples = cohort.samples.copy()
    size = samples["size"].to_numpy()
    random = np.random.default_rng(1)
    samples["os"] = np.clip(40 - 15 * size + random.normal(0, 3, patients), 1, None)
    samples["os_event"] = (np.arange(patients) % 3 > 0).astype(float)
    samples.loc[[4, 5], ["os", "os_event"]] = [[0.0, 1.0], [np.nan, 1.0]]
    samples["age"] = 60 + 5 * size + random.normal(0, 5, patients)
    samples["cancer_type"] = np.where(np.arange(patients) % 2, "KIRC", "KIRP")
    targets = {
        **cohort.targets,
        "os": Target("os", "sample", "survival"),
        "age": Target("age", "sample", "number"),
        "cancer_type": Target("cancer_type", "sample", "class", ("KIRC", "KIRP")),
        "mutation:A": Target("mutation:A", "sample", "class", ("mutated", "wild type")),
    }
    samples["mutation:A"] = np.where(np.arange(patients) < 3, "mutated", "wild type")
    return dataclasses.replace(cohort, samples=samples, targets=targets)


def test_no_modality_is_asked_for_what_it_is_or_decides():
    cohort = survival_cohort()
    kind = cohort.samples["cancer_type"].to_numpy()
    coin = np.where(np.arange(60) % 4 < 2, "IDC", "ILC")
    samples = cohort.samples.assign(
        kidney=kind, coin=coin, breast=np.where(kind == "KIRC", coin, None)
    )
    added = {name: Target(name, "sample", "class") for name in samples.columns[-3:]}
    cohort = dataclasses.replace(
        cohort, samples=samples, targets={**cohort.targets, **added}
    ).with_baselines()
    untold = {
        "cancer_type": {"type"},
        "kidney": {"type"},
        "breast": {"type"},
        "coin": set(),
        "os": set(),
        "os@kidney=KIRC": {"type"},
        "age": {"clinical"},
    }
    for text, wanted in untold.items():
        asked = ask(cohort, cohort.question(text), SMALL)
        names = cohort.modalities
        assert {name for name in names if not tells(cohort, name, asked)} == wanted


def test_follow_ups_of_nothing_are_counted_among_those_asked():
    cohort = survival_cohort()  # sample 4, of type KIRP
    for kind, count in (("KIRP", 1), ("KIRC", 0)):
        asked = ask(cohort, cohort.question(f"os@cancer_type={kind}"), SMALL)
        assert asked.left_out == {"follow-up of 0 months or less": count}


@pytest.mark.slow
def test_survival_beside_age_and_type(tmp_path):
    cohort = survival_cohort()
    alone = {"rna": cohort.modalities["rna"]}
    cohort = dataclasses.replace(cohort, modalities=alone).with_baselines()
    assert list(cohort.modalities) == ["rna", "clinical", "type"]
    questions = [cohort.question("os"), cohort.question("os@cancer_type=KIRC")]
    alone = Options(folds=3, combinations=False)
    result = run(cohort, questions, tmp_path, alone)
    value = {
        (cell["target"], *cell["modalities"]): cell["scores"]
        for cell in result["cells"]
    }
    # Among patients of one type the type says nothing.
    assert ("os", "type") in value
    assert ("os@cancer_type=KIRC", "type") not in value
    scores = value["os", "rna"]
    assert set(scores) == {*METRICS_OF_KIND["survival"]}
    assert scores["c_index"]["value"] > 0.75
    assert 0 < scores["brier_integrated"]["value"] < 0.25
    for score in scores.values():
        assert score["low"] < score["value"] < score["high"]
    (first, *_) = result["cells"]
    assert first["n"] == 58 and first["left_out"] == {
        "follow-up of 0 months or less": 1
    }
    paths = [path.name for path in write_all(result, tmp_path)]
    assert paths[-1] == "survival.png" and "heatmap.png" in paths
    again = run(cohort, questions, tmp_path, alone)
    assert again["cells"] == result["cells"]


def test_targets_by_pattern_leave_out_rare_classes_with_the_reason():
    cohort = survival_cohort()
    asked, left_out = asked_of(cohort, ["mutation:*", "k*"], Options(least=10))
    assert [one.name for one in asked] == ["kind"]
    assert left_out[0].startswith("mutation:A: 1 class has 10 patients or more")
    with pytest.raises(ModalityError, match="nothing to predict: mutation:A"):
        asked_of(cohort, ["mutation:*"], Options(least=10))
    with pytest.raises(ModalityError, match="mutation:A: 1 class"):
        asked, _ = asked_of(cohort, ["mutation:A"], Options(least=10))
        ask(cohort, asked[0], Options(least=10))
    with pytest.raises(ModalityError, match=r"has no target 'x\*'"):
        cohort.matching("x*")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.assign(os_event=s["os_event"] + 1), "expected events 1 and"),
        (lambda s: s.assign(os=s["os"] * 100), "expected months, got up to"),
        (lambda s: s.assign(os_event=0.0), "os: all 58 samples are censored"),
        (lambda s: s.assign(os=np.nan), "os: no sample has a follow-up"),
    ],
)
def test_survival_that_cannot_be_asked(change, message):
    cohort = survival_cohort()
    cohort = dataclasses.replace(cohort, samples=change(cohort.samples))
    with pytest.raises(ModalityError, match=message):
        ask(cohort, cohort.question("os"), Options())


def test_baselines_need_something_to_be_known():
    with pytest.raises(ModalityError, match="neither age, stage nor several"):
        made_cohort().with_baselines()
