"""Reading a study, and what is said when it cannot be read."""

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from pathjax.data.check import check_study
from pathjax.data.study import Split, Study, StudyError, sha256


def test_reads_back_what_was_written(tiny_study):
    assert len(tiny_study) == len(tiny_study.tiles) == 72
    assert tiny_study.synthetic and tiny_study.tile_px == 32
    assert tiny_study.targets["group"].classes == ("low", "high")
    assert list(tiny_study.reports()["text"]) == ["a", "b", "c"]
    assert tiny_study.split_names == ("main",)
    order = tiny_study.tiles["tile_id"].tolist()
    assert order[:4] == ["P00a0", "P00a1", "P00a2", "P00b0"]


def test_folds_inherit_from_patients(tiny_study):
    train = set(tiny_study.fold_tiles("main", "train"))
    test = set(tiny_study.fold_tiles("main", "test"))
    assert len(train) == 8 * 6 and len(test) == 2 * 6 and not train & test
    names = tiny_study.samples["sample_id"].to_numpy()
    assert list(names[tiny_study.fold_samples("main", "test")]) == ["P10", "P11"]


def test_tile_bytes_by_row_in_any_order(tiny_study):
    one, two = tiny_study.tile_bytes([5, 0])
    assert one == tiny_study.tile_bytes([5])[0] and two == tiny_study.tile_bytes([0])[0]
    assert one != two


def test_fingerprint_is_of_the_content(tiny_study, broken_copy):
    assert broken_copy.fingerprint == tiny_study.fingerprint
    meta = json.loads((broken_copy.root / "study.json").read_text())
    meta["files"]["tiles.parquet"]["sha256"] = "0" * 64
    (broken_copy.root / "study.json").write_text(json.dumps(meta))
    assert Study(broken_copy.root).fingerprint != tiny_study.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "study.json").unlink(), "has no study.json"),
        (lambda r: (r / "study.json").write_text("{"), "is not JSON"),
        (lambda r: (r / "tiles" / "P00a.array_record").unlink(), "lacks 1 of its"),
        (
            lambda r: (r / "study.json").write_text(
                json.dumps(json.loads((r / "study.json").read_text()) | {"schema": 9})
            ),
            "expected schema 1, got 9",
        ),
        (
            lambda r: (r / "study.json").write_text(
                (r / "study.json").read_text().replace('"tiles.parquet"', '"../../x"')
            ),
            "outside the study",
        ),
    ],
)
def test_a_broken_study_is_named(broken_copy, change, message):
    change(broken_copy.root)
    with pytest.raises(StudyError, match=message):
        Study(broken_copy.root)


def as_links(study, hub):
    """The study as a hub's cache has it: snapshots/REVISION/FILE -> ../../blobs/SHA."""
    snapshot = hub / "snapshots" / "0123abcd"
    for path in [p for p in study.root.rglob("*") if p.is_file()]:
        blob = hub / "blobs" / sha256(path)
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link = snapshot / path.relative_to(study.root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_a_study_of_links_opens(tiny_study, tmp_path):
    study = Study(as_links(tiny_study, tmp_path))
    assert study.fingerprint == tiny_study.fingerprint
    assert study.tile_bytes([0]) == tiny_study.tile_bytes([0])
    assert study.split("main") == tiny_study.split("main")
    assert check_study(study).problems == ()


def test_a_link_to_another_file_is_refused(tiny_study, tmp_path):
    root = as_links(tiny_study, tmp_path / "hub")
    (tmp_path / "other").write_bytes(b"x")
    (root / "samples.parquet").unlink()
    (root / "samples.parquet").symlink_to(tmp_path / "other")
    with pytest.raises(StudyError, match="samples.parquet is a link to .*other"):
        Study(root)
    (tmp_path / "other").unlink()
    with pytest.raises(StudyError, match="lacks 1 of its files"):
        Study(root)


def test_unknown_split_and_fold_name_those_there_are(tiny_study):
    with pytest.raises(StudyError, match="it has main"):
        tiny_study.split("mian")
    with pytest.raises(StudyError, match="train, val, test"):
        tiny_study.fold_tiles("main", "tets")


def test_split_problems(tiny_study):
    tiles = tiny_study.tiles
    assert Split("s", {"a": ("P00",), "b": ("P01",)}).problems(tiles) == []
    twice = Split("s", {"a": ("P00",), "b": ("P00",)}).problems(tiles)
    assert twice == ["split s: P00 is in folds a and b"]
    ids = tuple(f"P{i:02}" for i in range(6))
    many = Split("s", {"a": ids, "b": ids}).problems(tiles)
    assert len(many) == 4 and many[3] == "split s: 3 more ids are in several folds"
    unknown = Split("s", {"a": ("Q",)}).problems(tiles)
    assert "are not in the study" in unknown[0]
    by_tile = Split("s", {"a": ("P00a0",)}, unit="tile_id").problems(tiles)
    assert "nothing is ever split by tile" in by_tile[0]


def test_a_split_by_slide_has_to_declare_shared_patients(tiny_study):
    folds = {"a": ("P00a",), "b": ("P00b", "P01a")}
    hidden = Split("s", folds, unit="slide_id").problems(tiny_study.tiles)
    assert "1 patients are in several folds" in hidden[0] and "['P00']" in hidden[0]
    declared = Split("s", folds, unit="slide_id", shared_patients=("P00",))
    assert declared.problems(tiny_study.tiles) == []
    excess = Split("s", folds, unit="slide_id", shared_patients=("P00", "P01"))
    assert excess.problems(tiny_study.tiles)
    assert np.array_equal(np.unique(tiny_study.tiles["patient_id"])[:1], ["P00"])


def test_a_split_by_sample_divides_a_section():
    spots = pd.DataFrame({"sample_id": ["a", "b", "c"], "patient_id": ["P", "P", "Q"]})
    folds = {"left": ("a",), "right": ("b", "c")}
    hidden = Split("s", folds, unit="sample_id").problems(spots)
    assert "1 patients are in several folds" in hidden[0] and "['P']" in hidden[0]
    declared = Split("s", folds, unit="sample_id", shared_patients=("P",))
    assert declared.problems(spots) == []


def test_arrow_opens_tables_itself(tiny_study, monkeypatch):
    """A handle of Python's that Arrow holds can abort the process at its exit."""
    import pyarrow.parquet as pq

    opened = []
    inner = pq.read_table

    def read_table(source, **options):
        opened.append(source)
        return inner(source, **options)

    monkeypatch.setattr(pq, "read_table", read_table)
    study = Study(tiny_study.root)
    assert len(study.tiles) == len(study) and len(study.samples)
    assert opened == [
        str(study.root / f"{name}.parquet") for name in ("tiles", "samples")
    ]
    monkeypatch.chdir(study.root)
    assert Study(".").samples.equals(study.samples)
