"""The audit: shared patients, slides, barcodes and sites; `pathjax audit`'s exit status."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from pathjax.cli import main
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.evals import EvalError
from pathjax.evals.audit import (
    UnderTest,
    audit,
    audit_tasks,
    barcodes,
    describe,
    overlap,
    refused,
    training_of,
)
from pathjax.evals.tasks import Task
from pathjax.zoo import MODELS


def rows(*patients, slide="s{}"):
    return pd.DataFrame(
        {
            "patient_id": patients,
            "sample_id": [f"{p}-01A" for p in patients],
            "slide_id": [slide.format(p) for p in patients],
            "tile_id": [f"tile-{p}" for p in patients],
        }
    )


def stage(*patients, **more):
    return {"study": "cohort", "fingerprint": "f", "patients": list(patients), **more}


def test_disjoint_patients_are_clean():
    record = audit("m", [stage("A", "B")], {"t": UnderTest(rows("C"))})["t"]
    assert record["status"] == "clean"
    assert record["patients"] == [] and record["stages"] == ["cohort"]


def test_overlap_is_refused_with_names_for_all_tasks_at_once():
    tests = {
        "one": UnderTest(rows("A", "B")),
        "two": UnderTest(rows("C")),
        "fine": UnderTest(rows("D")),
    }
    with pytest.raises(EvalError) as caught:
        audit("tuned", [stage("A"), stage("C")], tests)
    message = str(caught.value)
    assert "tuned" in message and "one: 1 (A)" in message and "two: 1 (C)" in message
    assert "fine" not in message


def test_overlap_that_is_allowed_by_name_stands_in_the_record():
    tests = {"one": UnderTest(rows("A")), "two": UnderTest(rows("D"))}
    records = audit("m", [stage("A")], tests, allow=["one"])
    assert records["one"]["status"] == "allowed"
    assert records["one"]["patients"] == ["A"]
    assert records["two"]["status"] == "clean"


def test_barcodes_are_found_anywhere_across_studies():
    trained = stage("TCGA-E2-A1AZ-01Z-00-DX1.abc")
    test = rows("blk-XYZ-tcga-e2-a1az-01A.png")
    found = overlap([trained], test)
    assert found["barcodes"] == ["TCGA-E2-A1AZ"] and found["patients"] == []
    with pytest.raises(EvalError, match="TCGA-E2-A1AZ"):
        audit("m", [trained], {"crc-msi": UnderTest(test)})


def test_barcode_in_a_tile_name_alone_is_found():
    test = rows("7").assign(tile_id="MSIMUT_TCGA-AA-3666-01Z.jpg")
    assert overlap([stage("TCGA-AA-3666")], test)["barcodes"] == ["TCGA-AA-3666"]


def test_barcodes_of_other_people_do_not_match():
    assert barcodes(["TCGA-AA-3666", "TCGA-AA-36667", "TCGA-AA", "PCGA-AA-3666"]) == {
        "TCGA-AA-3666"
    }
    assert overlap([stage("TCGA-AA-3666")], rows("TCGA-AA-3667"))["barcodes"] == []


def test_declared_patients_pass_but_their_slides_do_not():
    test = rows("C", slide="C5")
    history = [stage("C", slides=["C2", "C3"])]
    record = audit("m", history, {"t": UnderTest(test, ("C",))})["t"]
    assert record["status"] == "declared" and record["slides_known"]
    with pytest.raises(EvalError, match="C5"):
        audit("m", [stage("C", slides=["C2", "C5"])], {"t": UnderTest(test, ("C",))})
    record = audit("m", [stage("C")], {"t": UnderTest(test, ("C",))})["t"]
    assert record["slides_known"] is False


@pytest.mark.parametrize("history", [None, []])
def test_unknown_history_is_not_clean(history):
    assert audit("fm", history, {"t": UnderTest(rows("A"))})["t"]["status"] == "unknown"


def test_malformed_history_and_unknown_tasks_are_refused():
    with pytest.raises(EvalError, match="entry 0 lacks fingerprint, patients.*entry 1"):
        overlap([{"study": "x"}, stage() | {"patients": "ABC"}], rows("A"))
    with pytest.raises(EvalError, match="allowed for tpyo"):
        audit("m", [stage("A")], {"t": UnderTest(rows("B"))}, allow=["tpyo"])


def test_a_site_on_both_sides_counts_where_sites_are_to_be_preserved():
    test = rows("D").assign(site="BH")
    history = [stage("A", sites=["BH", "unknown"])]
    assert audit("m", history, {"t": UnderTest(test)})["t"]["status"] == "clean"
    with pytest.raises(EvalError, match=r"t: 1 \(site BH\)"):
        audit("m", history, {"t": UnderTest(test, site_preserved=True)})
    unknown = rows("D").assign(site="unknown")
    assert overlap(history, unknown)["sites"] == []


def test_sites_are_read_from_barcodes_across_studies():
    history, test = [stage("TCGA-AA-3666")], rows("tile-TCGA-AA-3494-01Z")
    found = overlap(history, test)
    assert found["sites"] == ["AA"] and not found["barcodes"]
    with pytest.raises(EvalError, match="site AA"):
        audit("m", history, {"crc-msi": UnderTest(test, site_preserved=True)})


def test_pretraining_on_tcga_is_counted_and_not_an_overlap():
    tests = {
        "tcga": UnderTest(rows("TCGA-AA-3666", "TCGA-AA-3667")),
        "bach": UnderTest(rows("1")),
    }
    records = audit("fm", [], tests, pretrained_on_tcga=True)
    assert records["tcga"]["pretrained_on"] == {"TCGA": 2}
    assert (
        records["tcga"]["status"] == "unknown"
        and "pretrained_on" not in records["bach"]
    )
    for known in (False, None):
        assert "pretrained_on" not in audit("fm", [], tests, (), known)["tcga"]


def test_a_fold_is_a_stage_of_training(study):
    stage = training_of(study, "cohort", "fit")
    assert stage["patients"] == [f"P{i:02d}" for i in range(14)]
    assert stage["slides"][:2] == ["P00a", "P00b"] and stage["sites"] == ["S"]


TASK = Task("kind", "cohort", "kind", "classification", "cohort", "fit", "test",
            level="tile")  # fmt: skip


def build(root, name, slides, folds) -> Study:
    """A study of one tile for each slide: (slide, patient, site, tile)."""
    writer = StudyWriter(root, name=name, tile_px=8, mpp=1.0, synthetic=True)
    tile = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    with writer.shard("all") as shard:
        for number, (slide, patient, site, tile_id) in enumerate(slides):
            shard.add(
                tile,
                tile_id=tile_id,
                sample_id=patient,
                patient_id=patient,
                site=site,
                slide_id=slide,
                kind="ab"[number % 2],
            )
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
    records = audit_tasks(
        [task],
        [tcga],
        models=["kaiko-vits16", "uni"],
        registry={n: m.pretrained_on_tcga for n, m in MODELS.items()},
    )
    kaiko, uni = records[1:]
    assert kaiko["pretrained_on"] == {"TCGA": 1} and "pretrained_on" not in uni
    assert kaiko["status"] == uni["status"] == "unknown"
    assert (
        "pre-trained on TCGA, which has 1 of the test patients" in describe(records)[1]
    )


def test_the_command_says_it_and_exits_with_1(tcga, tmp_path, capsys):
    study = cohort(tmp_path / "c", ("4", "4", "y", "TCGA-AA-3667-01Z-00-DX1_12.png"))
    tasks = tmp_path / "tasks.json"
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
        with pytest.raises(EvalError, match="expected STUDY:SPLIT"):
            audit_tasks([TASK], [study], trains=[text])
