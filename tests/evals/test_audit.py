import pandas as pd
import pytest

from pathjax.evals.audit import (
    AuditError,
    UnderTest,
    audit,
    barcodes,
    overlap,
    training_of,
)


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
    with pytest.raises(AuditError) as caught:
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
    with pytest.raises(AuditError, match="TCGA-E2-A1AZ"):
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
    with pytest.raises(AuditError, match="C5"):
        audit("m", [stage("C", slides=["C2", "C5"])], {"t": UnderTest(test, ("C",))})
    record = audit("m", [stage("C")], {"t": UnderTest(test, ("C",))})["t"]
    assert record["slides_known"] is False


@pytest.mark.parametrize("history", [None, []])
def test_unknown_history_is_not_clean(history):
    assert audit("fm", history, {"t": UnderTest(rows("A"))})["t"]["status"] == "unknown"


def test_malformed_history_and_unknown_tasks_are_refused():
    with pytest.raises(
        AuditError, match="entry 0 lacks fingerprint, patients.*entry 1"
    ):
        overlap([{"study": "x"}, stage() | {"patients": "ABC"}], rows("A"))
    with pytest.raises(AuditError, match="allowed for tpyo"):
        audit("m", [stage("A")], {"t": UnderTest(rows("B"))}, allow=["tpyo"])


def test_a_site_on_both_sides_counts_where_sites_are_to_be_preserved():
    test = rows("D").assign(site="BH")
    history = [stage("A", sites=["BH", "unknown"])]
    assert audit("m", history, {"t": UnderTest(test)})["t"]["status"] == "clean"
    with pytest.raises(AuditError, match=r"t: 1 \(site BH\)"):
        audit("m", history, {"t": UnderTest(test, site_preserved=True)})
    unknown = rows("D").assign(site="unknown")
    assert overlap(history, unknown)["sites"] == []


def test_sites_are_read_from_barcodes_across_studies():
    history, test = [stage("TCGA-AA-3666")], rows("tile-TCGA-AA-3494-01Z")
    found = overlap(history, test)
    assert found["sites"] == ["AA"] and not found["barcodes"]
    with pytest.raises(AuditError, match="site AA"):
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
