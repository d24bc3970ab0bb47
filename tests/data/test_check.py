"""Verification on disk: every kind of damage is named with its place."""

import json
import shutil

import anndata
import numpy as np
import pandas as pd
import pytest

from pathjax.data.check import check_study, expression_problems, report_problems
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Study, StudyError, sha256
from pathjax.data.study_writer import StudyWriter


def accept_changes(root):
    """Makes study.json state the checksums of the files as they are now."""
    meta = json.loads((root / "study.json").read_text())
    for name, entry in meta["files"].items():
        entry["sha256"] = sha256(root / name)
    (root / "study.json").write_text(json.dumps(meta))


def test_a_whole_study_has_no_problems(tiny_study):
    seen = []
    findings = check_study(tiny_study, lambda done, total: seen.append((done, total)))
    assert findings.problems == ()
    assert seen[-1] == (72, 72)


def test_a_changed_file_is_named(broken_copy):
    path = broken_copy.root / "splits" / "main.json"
    path.write_text(path.read_text() + " ")
    assert any(
        "splits/main.json is not" in p for p in check_study(broken_copy).problems
    )


def test_index_and_shards_that_disagree(broken_copy):
    tiles = pd.read_parquet(broken_copy.root / "tiles.parquet")
    tiles.iloc[:-2].to_parquet(broken_copy.root / "tiles.parquet", index=False)
    accept_changes(broken_copy.root)
    problems = " ".join(check_study(Study(broken_copy.root)).problems)
    assert "lists 1 tiles of shard P11b, study.json 3" in problems
    assert "72 records, tiles.parquet has 70 rows" in problems


def test_a_shard_that_is_no_shard(broken_copy):
    (broken_copy.root / "tiles" / "P00a.array_record").write_bytes(b"not a record file")
    problems = " ".join(check_study(Study(broken_copy.root)).problems)
    assert "P00a.array_record is not the file" in problems
    assert "shard P00a cannot be read" in problems


def test_truncated_jpeg_and_wrong_size_are_named(tmp_path):
    writer = StudyWriter(
        tmp_path,
        name="t",
        tile_px=16,
        mpp=1.0,
        gene_id_type=None,
        synthetic=True,
        provenance={},
        build={},
    )
    whole = encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    small = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with writer.shard("A") as shard:
        for name, data in (("w", whole), ("cut", whole[:200]), ("small", small)):
            shard.add(
                data,
                tile_id=name,
                sample_id="A",
                patient_id="A",
                site="s",
                x=0,
                y=0,
                mpp=1.0,
            )
    table = pd.DataFrame({"sample_id": ["A"], "patient_id": ["A"], "site": ["s"]})
    study = writer.finish(samples=table, targets=[], splits=[])
    problems = check_study(study).problems
    assert any(p.startswith("tile cut is broken") for p in problems)
    assert "tile small is 8 x 8 px, study.json says 16" in problems
    assert len(problems) == 2


def test_samples_without_expression_are_a_note(tiny_study, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(tiny_study.root, root)
    tiny_study.expression()[2:].copy().write_h5ad(root / "expression.h5ad")
    accept_changes(root)
    findings = check_study(Study(root))
    assert findings.problems == ()
    assert "2 of 12 samples have no expression, first ['P00', 'P01']" in findings.notes


def make_expression(values, genes=("A", "B"), ids=("P00", "P01")):
    var = pd.DataFrame(index=list(genes))
    return anndata.AnnData(
        np.asarray(values, np.float32), obs=pd.DataFrame(index=list(ids)), var=var
    )


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_expression_problems(tiny_study):
    good = make_expression([[1, 2], [3, 4]])
    assert expression_problems(good, tiny_study.samples) == []
    nan = make_expression([[1, 2], [3, np.nan]])
    assert (
        "first sample 'P01', gene 'B'"
        in expression_problems(nan, tiny_study.samples)[0]
    )
    twice = make_expression([[1, 2], [3, 4]], genes=("A", "A"))
    assert (
        "1 gene names occur more than once, first ['A']"
        in expression_problems(twice, tiny_study.samples)[0]
    )
    alien = make_expression([[1, 2], [3, 4]], ids=("P00", "Q"))
    assert (
        "no sample of the study, first ['Q']"
        in expression_problems(alien, tiny_study.samples)[0]
    )


def test_writer_refuses_what_check_finds(tiny_study, tmp_path):
    writer = StudyWriter(
        tmp_path,
        name="t",
        tile_px=16,
        mpp=1.0,
        gene_id_type="symbol",
        synthetic=True,
        provenance={},
        build={},
    )
    with writer.shard("A") as shard:
        shard.add(
            b"",
            tile_id="a",
            sample_id="P00",
            patient_id="P00",
            site="s",
            x=0,
            y=0,
            mpp=1.0,
        )
    table = pd.DataFrame({"sample_id": ["P00"], "patient_id": ["P00"], "site": ["s"]})
    with pytest.raises(StudyError, match="not finite"):
        writer.finish(
            samples=table,
            targets=[],
            splits=[],
            expression=make_expression([[1, np.inf]], ids=("P00",)),
        )


def test_reports_are_of_samples_once_and_say_something():
    samples = pd.DataFrame({"sample_id": ["a", "b"]})
    reports = pd.DataFrame({"sample_id": ["a", "a", "x"], "text": ["one", " ", "two"]})
    found = report_problems(reports, samples)
    assert len(found) == 3
    assert "1 reports are of no sample of the study, first ['x']" in found
    assert "1 samples have two reports, first ['a']" in found
    assert "1 reports are empty, first ['a']" in found
    assert report_problems(reports[:1], samples) == []
