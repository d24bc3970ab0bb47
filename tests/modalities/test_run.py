"""The whole matrix: same rows, all rows, resuming, and what stands in the results."""

import dataclasses
import json

import numpy as np
import pytest
from modalities_made import made_cohort

from pathjax.data.study import Target
from pathjax.modalities import run as runs
from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.features import Preparation
from pathjax.modalities.run import Options, ask, combinations_of, run

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
    return out, run(cohort, [cohort.question("kind")], out, SMALL, command="pathjax x")


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
    assert result["command"] == "pathjax x"


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


def test_combinations_come_after_the_single_ones():
    assert combinations_of("ab", True) == [("a",), ("b",), ("a", "b")]
    assert combinations_of("ab", False) == [("a",), ("b",)]
