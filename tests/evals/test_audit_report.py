"""`pathjax audit`: what it finds, in words and in its exit status."""

import json

import numpy as np
import pytest

from pathjax.cli import main
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.evals.audit_report import AuditWordsError, audit_tasks, describe, refused
from pathjax.evals.tasks import Task

TASK = Task("kind", "cohort", "kind", "classification", "cohort", "fit", "test",
            level="tile")  # fmt: skip


def build(root, name, slides, folds) -> Study:
    """A study of one tile for each slide: (slide, patient, site, tile)."""
    writer = StudyWriter(
        root, name=name, tile_px=8, mpp=1.0, gene_id_type=None, synthetic=True,
        provenance={}, build={},
    )  # fmt: skip
    tile = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with writer.shard("all") as shard:
        for number, (slide, patient, site, tile_id) in enumerate(slides):
            shard.add(
                tile, tile_id=tile_id, sample_id=patient, patient_id=patient,
                site=site, slide_id=slide, x=0, y=0, mpp=1.0, kind="ab"[number % 2],
            )  # fmt: skip
    import pandas as pd

    owners = pd.DataFrame(slides, columns=["s", "patient_id", "site", "t"])
    samples = owners.drop_duplicates("patient_id").assign(
        sample_id=lambda table: table["patient_id"]
    )
    return writer.finish(
        samples=samples[["sample_id", "patient_id", "site"]],
        targets=[Target("kind", "tile", "class", ("a", "b"))],
        splits=[Split("cohort", folds)],
    )


@pytest.fixture
def tcga(tmp_path):
    """A training cohort named by TCGA's patients and slides."""
    slides = [
        (
            f"TCGA-{site}-{person}-01Z-00-DX1",
            f"TCGA-{site}-{person}",
            site,
            f"{person}-0",
        )
        for site, person in (("AA", "3666"), ("AA", "3667"), ("G9", "6336"))
    ]
    folds = {"train": ("TCGA-AA-3666", "TCGA-AA-3667"), "val": ("TCGA-G9-6336",)}
    return build(tmp_path / "tcga", "tcga", slides, folds)


def cohort(root, last):
    """A tile benchmark: four images, the last of the test fold as given."""
    slides = [("1", "1", "x", "1.png"), ("2", "2", "x", "2.png"),
              ("3", "3", "y", "3.png"), last]  # fmt: skip
    return build(root, "cohort", slides, {"fit": ("1", "2"), "test": ("3", last[1])})


def test_a_tcga_case_under_another_slide_name_is_found(tcga, tmp_path):
    tile = "blk-AAQTMGMA-tcga-aa-3666-01a-02-ts1.png"  # as CRC-MSI names its tiles
    study = cohort(tmp_path / "c", ("4", "4", "y", tile))
    own, trained = audit_tasks([TASK], [study], trains=[f"{tcga.root}:cohort"])
    assert own["against"].startswith("its own fit fold") and own["status"] == "clean"
    assert trained["barcodes"] == ["TCGA-AA-3666"] and trained["status"] == "overlap"
    assert refused([own, trained]) == [trained]
    lines = describe([own, trained])
    assert "OVERLAP: 1 barcodes (TCGA-AA-3666)" in lines[1]
    assert lines[-1] == "1 of 2 overlap"
    (held,) = audit_tasks([TASK], [study], trains=[f"{tcga.root}:cohort:val"])[1:]
    assert held["status"] == "clean"


def test_a_shared_patient_is_found_by_id(tmp_path):
    study = cohort(tmp_path / "c", ("4", "4", "y", "4.png"))
    (_, record) = audit_tasks([TASK], [study], trains=["cohort:cohort:test"])
    assert record["patients"] == ["3", "4"] and record["status"] == "overlap"


def test_a_site_on_both_sides_is_found_where_sites_are_asked_for(tmp_path):
    study = cohort(tmp_path / "c", ("4", "4", "x", "4.png"))
    (own,) = audit_tasks([TASK], [study])
    assert own["status"] == "clean" and own["sites"] == ["x"]
    (own,) = audit_tasks([TASK], [study], site_preserved=True)
    assert own["status"] == "overlap" and own["beyond"] == ["site x"]


def test_foundation_models_that_have_seen_tcga_are_flagged(tcga):
    task = Task("t", "tcga", "kind", "classification", "cohort", "train", "val",
                level="tile")  # fmt: skip
    records = audit_tasks([task], [tcga], models=["kaiko-vits16", "uni"])
    kaiko, uni = records[1:]
    assert kaiko["pretrained_on"] == {"TCGA": 1} and "pretrained_on" not in uni
    assert kaiko["status"] == uni["status"] == "unknown"
    assert "pre-trained on TCGA, which 1 test patients" in describe(records)[1]


def test_the_command_says_it_and_exits_with_1(tcga, tmp_path, capsys):
    study = cohort(tmp_path / "c", ("4", "4", "y", "TCGA-AA-3667-01Z-00-DX1_12.png"))
    tasks = tmp_path / "tasks.json"
    import dataclasses

    tasks.write_text(json.dumps([dataclasses.asdict(TASK)]))
    words = ["audit", "--tasks", str(tasks), "--study", str(study.root)]
    assert main([*words, "--train", f"{tcga.root}:cohort:val"]) == 0
    out = tmp_path / "audit.json"
    assert main([*words, "--train", f"{tcga.root}:cohort", "--out", str(out)]) == 1
    assert "TCGA-AA-3667" in capsys.readouterr().out
    assert json.loads(out.read_text())[1]["barcodes"] == ["TCGA-AA-3667"]


def test_what_is_audited_has_to_be_named_in_full(tmp_path):
    study = cohort(tmp_path / "c", ("4", "4", "y", "4.png"))
    for text in ("cohort", "cohort:", "a:b:c:d:"):
        with pytest.raises(AuditWordsError, match="wanted STUDY:SPLIT"):
            audit_tasks([TASK], [study], trains=[text])
