"""pathjax data split, on the small study."""

import pandas as pd
import pytest

from pathjax.cli import main
from pathjax.data.add_split import add_split, make_split, patients_of
from pathjax.data.check import check_study
from pathjax.data.study import Split, Study, StudyError


def run(study, *words):
    return main(["data", "split", str(study.root), *words])


def test_cross_validation_by_the_command_line(broken_copy, capsys):
    before = broken_copy.fingerprint
    words = ("--name", "cv", "--folds", "3", "--stratify", "group")
    assert run(broken_copy, *words) == 0
    out = capsys.readouterr().out
    assert "fold0  fold1  fold2  total" in out and "split cv added" in out
    study = Study(broken_copy.root)
    assert study.split_names == ("cv", "main") and study.fingerprint != before
    split = study.split("cv")
    assert list(split.folds) == ["fold0", "fold1", "fold2"]
    assert [len(ids) for ids in split.folds.values()] == [4, 4, 4]
    group = study.samples.set_index("patient_id")["group"]
    assert all((group[list(ids)] == "low").sum() == 2 for ids in split.folds.values())
    assert split.note == "folds: 3; by patient; stratified by group; seed 0"
    assert check_study(study).problems == ()
    assert len(study.fold_tiles("cv", "fold0")) == 24
    # The same again changes nothing; other folds under the name are refused.
    assert run(broken_copy, *words) == 0
    assert "was there already" in capsys.readouterr().out
    assert Study(broken_copy.root).fingerprint == study.fingerprint
    assert run(broken_copy, *words, "--seed", "1") == 1
    assert "has a split 'cv' already, with other folds" in capsys.readouterr().err
    assert study.meta["added"][0]["file"] == "splits/cv.json"


def test_fractions_and_tile_labels_by_the_command_line(broken_copy, capsys):
    assert run(
        broken_copy, "--name", "parts", "--fractions", "train=.5,val=.25,test=.25",
        "--stratify", "tile_class", "group",
    ) == 0  # fmt: skip
    table = capsys.readouterr().out
    assert "tile_class" in table and "light" in table
    folds = Study(broken_copy.root).split("parts").folds
    assert {name: len(ids) for name, ids in folds.items()} == {
        "train": 6, "val": 3, "test": 3
    }  # fmt: skip


def with_sites(study, sites):
    samples = study.samples.assign(site=sites)
    samples.to_parquet(study.root / "samples.parquet", index=False)
    return Study(study.root)


def test_site_preserved_by_the_command_line(broken_copy, capsys):
    words = ("--name", "sites", "--folds", "2", "--site-preserved")
    assert run(broken_copy, *words) == 1
    assert "1 sites (S1) cannot fill 2 folds" in capsys.readouterr().err
    study = with_sites(broken_copy, [f"S{i // 3}" for i in range(12)])
    assert run(study, *words, "--stratify", "group") == 0
    site = study.samples.set_index("patient_id")["site"]
    folds = Study(study.root).split("sites").folds
    of = [set(site[list(ids)]) for ids in folds.values()]
    assert [len(one) for one in of] == [2, 2] and not of[0] & of[1]


def test_a_study_is_as_it_was_when_the_split_cannot_be_written(
    broken_copy, monkeypatch
):
    """Killed between the two files, the study has no trace of the split."""
    import pathjax.data.additions as module

    split, _ = make_split(broken_copy, "cv", 3)
    written = []

    def dies(path, value):
        written.append(path.name)
        raise OSError("disk full")

    monkeypatch.setattr(module, "write_json", dies)
    with pytest.raises(OSError, match="disk full"):
        add_split(broken_copy, split)
    assert written == ["study.json"]
    assert (broken_copy.root / "splits" / "cv.json").is_file()
    again = Study(broken_copy.root)
    assert again.split_names == ("main",)
    assert again.fingerprint == broken_copy.fingerprint
    monkeypatch.undo()
    study, added = add_split(again, split)
    assert added and study.split("cv") == split


def test_a_patient_has_the_commonest_label_of_its_samples(broken_copy):
    table = pd.DataFrame(
        {
            "sample_id": list("abcdefg"),
            "patient_id": ["P1"] * 3 + ["P2"] * 2 + ["P3", "p3"],
            "site": "S",
            "group": ["low", "high", "high", "low", "high", None, "low"],
        }
    )
    study = Study(broken_copy.root)
    study.__dict__["samples"] = table
    patients, notes = patients_of(study, ["group"])
    assert patients["patient_id"].tolist() == ["P1", "P2", "P3", "p3"]
    assert patients["group"].fillna("?").tolist() == ["high", "high", "?", "low"]
    assert notes[0].startswith("patients P3, p3 differ only by case")
    assert notes[1:] == [
        "2 patients have several group, first P1: the commonest counts",
        "1 patients have no group",
    ]


def test_a_patient_of_two_sites_is_refused(broken_copy):
    study = Study(broken_copy.root)
    double = study.samples.iloc[[0]].assign(sample_id="x", site="S2")
    study.__dict__["samples"] = pd.concat([study.samples, double])
    with pytest.raises(StudyError, match=r"1 patients are at several sites.*P00"):
        patients_of(study, [], with_site=True)


def test_targets_that_cannot_stratify_are_named(tiny_study):
    with pytest.raises(StudyError, match="no target 'x'.*latent is a number"):
        make_split(tiny_study, "s", 2, stratify=["x", "latent"])


def test_splits_that_do_not_fit_are_refused(tiny_study):
    with pytest.raises(StudyError, match="cannot name a split"):
        add_split(tiny_study, Split("../cv", {"a": ("P00",)}))
    with pytest.raises(StudyError, match="1 patient_ids are not in the study"):
        add_split(tiny_study, Split("cv", {"a": ("P99",)}))
