"""Folds of Patho-Bench and HEST-bench, written as their files are, on the small study."""

import re
from pathlib import Path

import pandas as pd
import pytest

from pathjax.cli import main
from pathjax.data.check import check_study
from pathjax.data.fold_files import read_folds, splits_of
from pathjax.data.study import Study, StudyError

PATIENTS = [f"P{i:02d}" for i in range(12)]
DOC = Path(__file__).resolve().parents[2] / "docs" / "study.md"


def patho_bench(path, folds, slides="ab", cases=PATIENTS):
    """Lines of slides; `folds` gives the role of (case, slide) by fold."""
    lines = [
        {"case_id": case, "slide_id": f"{case}{slide}", "BRAF_mutation": 1}
        | {name: role(case, slide) for name, role in folds.items()}
        for case in cases
        for slide in slides
    ]
    pd.DataFrame(lines).to_csv(path, sep="\t", index=False)
    return path


def role_of(tested):
    return lambda case, slide: "test" if case in tested else "train"


def test_a_cross_validation_is_one_split(broken_copy, tmp_path, monkeypatch, capsys):
    """By the command of docs/study.md."""
    monkeypatch.chdir(tmp_path)
    folds = {f"fold_{k}": role_of(PATIENTS[k::3]) for k in range(3)}
    patho_bench(tmp_path / "k=all.tsv", folds, cases=[*PATIENTS, "P99"])
    (line,) = re.findall(
        r"^pathjax data split .*--from.*$", DOC.read_text(), re.MULTILINE
    )
    words = line.replace("'", "").split()[1:]
    words[2] = str(broken_copy.root)
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "split bc_therapy added: patient_id fold0 4, fold1 4, fold2 4" in out
    assert "1 of 13 patient_ids of k=all.tsv are not in the study, first P99" in out
    assert "not read: BRAF_mutation" in out and '"fit": null, "test": "*"' in out
    study = Study(broken_copy.root)
    split = study.split("bc_therapy")
    assert split.folds == {f"fold{k}": tuple(PATIENTS[k::3]) for k in range(3)}
    assert split.unit == "patient_id" and split.note == "read from k=all.tsv"
    assert check_study(study).problems == ()
    assert main(words) == 0 and "was there already" in capsys.readouterr().out
    assert main([*words, "--seed", "1"]) == 1
    assert "folds that are made here" in capsys.readouterr().err


def test_a_study_without_the_test_patients_of_a_round(tiny_study, tmp_path):
    folds = {f"fold_{k}": role_of(PATIENTS[k::2]) for k in range(2)}
    folds["fold_2"] = role_of(("P98", "P99"))
    cases = [*PATIENTS, "P98", "P99"]
    rounds = read_folds(patho_bench(tmp_path / "k=all.tsv", folds, cases=cases))
    (split,), notes = splits_of(tiny_study, "two", rounds, "k=all.tsv")
    assert split.folds == {f"fold{k}": tuple(PATIENTS[k::2]) for k in range(2)}
    assert any("2 of 14 patient_ids" in note for note in notes)


def test_draws_that_overlap_are_a_split_each(tiny_study, tmp_path):
    folds = {f"fold_{k}": role_of(PATIENTS[k : k + 4]) for k in (0, 2, 10)}
    rounds = read_folds(patho_bench(tmp_path / "k=all.tsv", folds))
    splits, _ = splits_of(tiny_study, "draws", rounds, "k=all.tsv")
    assert [one.name for one in splits] == [
        "draws-fold0",
        "draws-fold2",
        "draws-fold10",
    ]
    assert splits[1].folds == {
        "train": tuple(p for p in PATIENTS if p not in PATIENTS[2:6]),
        "test": tuple(PATIENTS[2:6]),
    }


def test_one_round_keeps_its_name_and_its_val_fold(tiny_study, tmp_path):
    roles = dict(
        zip(PATIENTS, ["Train"] * 8 + ["val"] * 2 + ["test"] + [""], strict=True)
    )
    path = patho_bench(tmp_path / "f.csv", {"fold_0": lambda case, slide: roles[case]})
    splits, _ = splits_of(tiny_study, "one", read_folds(path), "f.csv")
    ((name, folds),) = [(one.name, one.folds) for one in splits]
    assert name == "one" and {k: len(v) for k, v in folds.items()} == {
        "train": 8, "val": 2, "test": 1
    }  # fmt: skip


def test_slides_of_one_patient_held_apart_are_declared(tiny_study, tmp_path):
    def role(case, slide):
        return "test" if slide == "b" and case < "P03" else "train"

    rounds = read_folds(patho_bench(tmp_path / "k=all.tsv", {"fold_0": role}))
    (split,), notes = splits_of(tiny_study, "slides", rounds, "k=all.tsv")
    assert split.unit == "slide_id" and split.folds["test"] == ("P00b", "P01b", "P02b")
    assert split.shared_patients == ("P00", "P01", "P02")
    assert any("3 patients, first P00, are in several folds" in note for note in notes)
    assert split.problems(tiny_study.tiles) == []


@pytest.mark.parametrize("nested", [True, False])
def test_hest_bench_samples_are_found_as_slides(tiny_study, tmp_path, nested):
    folder = tmp_path / "IDC" / "splits"
    folder.mkdir(parents=True)
    slides = [f"{patient}a" for patient in PATIENTS]
    for k in range(2):
        for role, ids in (("train", slides[1 - k :: 2]), ("test", slides[k::2])):
            table = pd.DataFrame({"sample_id": ids})
            table["patches_path"] = "patches/" + table["sample_id"] + ".h5"
            table.to_csv(folder / f"{role}_{k}.csv", index=False)
    rounds = read_folds(folder.parent if nested else folder)
    (split,), notes = splits_of(tiny_study, "hest", rounds, "splits")
    assert split.unit == "slide_id" and split.shared_patients == ()
    assert split.folds == {"fold0": tuple(slides[::2]), "fold1": tuple(slides[1::2])}
    assert any(
        "12 slide_ids of the study, first P00b, are in no fold" in n for n in notes
    )


def test_what_cannot_be_read_is_refused(tiny_study, tmp_path):
    folds = {"fold_0": lambda case, slide: "holdout"}
    with pytest.raises(
        StudyError, match="expected train, val, test or nothing .*holdout"
    ):
        read_folds(patho_bench(tmp_path / "a.tsv", folds))
    with pytest.raises(
        StudyError, match="expected columns case_id, slide_id and fold_0"
    ):
        read_folds(patho_bench(tmp_path / "b.tsv", {}))
    with pytest.raises(StudyError, match=r"expected train_0.csv, test_0.csv"):
        read_folds(tmp_path)
    path = patho_bench(tmp_path / "c.tsv", {"fold_0": role_of("X")}, cases=["X", "Y"])
    with pytest.raises(StudyError, match="none of the ids, such as X, Xa"):
        splits_of(tiny_study, "no", read_folds(path), "c.tsv")
    path = patho_bench(tmp_path / "d.tsv", {"fold_0": role_of(())})
    with pytest.raises(StudyError, match="expected train and test, the study has only"):
        splits_of(tiny_study, "no", read_folds(path), "d.tsv")
    lines = pd.read_csv(path, sep="\t")
    twice = lines.assign(fold_0="test")
    pd.concat([lines, twice]).to_csv(path, sep="\t", index=False)
    with pytest.raises(StudyError, match="has several roles in one round"):
        splits_of(tiny_study, "no", read_folds(path), "d.tsv")
    for role in ("train", "test"):
        pd.DataFrame({"sample_id": ["A"]}).to_csv(tmp_path / f"{role}_0.csv")
    with pytest.raises(StudyError, match=r"A is in train_0.csv and test_0.csv"):
        read_folds(tmp_path)
