"""Reading tables of reports: what is kept, joined, left out and counted."""

import json
import zipfile

import pandas as pd
import pytest

from pathjax.cli import main
from pathjax.data import additions
from pathjax.data.check import check_study
from pathjax.data.study import Study
from pathjax.data.text_store import TextError
from pathjax.text import reports
from pathjax.text.reports import Reports, add_reports, match, read_reports

LONG = "Sections show invasive carcinoma of the left breast"
NAME = "{}.25c0b433-5557-4165-922e-2c1eac9c26f0"


def has(notes, part):
    return sum(part in note for note in notes) == 1


def write(path, columns, **how):
    pd.DataFrame(columns).to_csv(path, index=False, **how)
    return path


def test_the_tcga_corpus(tmp_path):
    names = [
        NAME.format("TCGA-BP-5195").replace("25c0", "99c0"),
        NAME.format("TCGA-D7-8573"),
        NAME.format("tcga-bp-5195"),
        "readme.txt",
        NAME.format("TCGA-EI-7004"),
        NAME.format("TCGA-AA-3811"),
        NAME.format("TCGA-D7-8573"),
    ]
    texts = [f"{LONG} second", LONG, f"{LONG} first", LONG, "  ", "x 1 22 ab ...", LONG]
    path = write(
        tmp_path / "TCGA_Reports.csv", {"patient_filename": names, "text": texts}
    )
    found = read_reports(path)
    assert found.kind == "patient_id"
    both = found.texts.set_index("id")
    assert both.index.tolist() == ["TCGA-BP-5195", "TCGA-D7-8573"]
    # Capitals sort before small letters; the order is that of the names.
    assert both.loc["TCGA-BP-5195", "text"] == f"{LONG} second\n\n{LONG} first"
    assert both["reports"].tolist() == [2, 1]
    assert has(found.notes, "1 reports name no TCGA patient: left out, first ['readme")
    assert has(found.notes, "1 texts are empty: left out")
    assert has(found.notes, "1 texts have fewer than 5 words")
    assert has(found.notes, "1 texts repeat another of the same id")
    assert has(
        found.notes, "1 ids have several reports, joined in the order of their f"
    )
    kept = read_reports(path, min_words=0).texts
    assert "TCGA-AA-3811" in set(kept["id"]) and "TCGA-EI-7004" not in set(kept["id"])


def test_a_zipped_corpus_is_read_as_it_is_published(tmp_path):
    table = write(
        tmp_path / "TCGA_Reports.csv",
        {"patient_filename": [NAME.format("TCGA-BP-5195")], "text": [LONG]},
    )
    with zipfile.ZipFile(tmp_path / "TCGA_Reports.csv.zip", "w") as archive:
        archive.write(table, "TCGA_Reports.csv")
    found = read_reports(tmp_path / "TCGA_Reports.csv.zip")
    assert found.texts["text"].tolist() == [LONG]
    assert found.source["file"] == "TCGA_Reports.csv.zip"
    assert len(found.source["sha256"]) == 64


def test_an_archive_has_to_be_one_table(tmp_path):
    with zipfile.ZipFile(tmp_path / "r.zip", "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    with pytest.raises(TextError, match="archive has 2 files, expected one"):
        read_reports(tmp_path / "r.zip")
    (tmp_path / "r.csv.gz").write_bytes(b"\x1f\x8b patient_id,text")
    with pytest.raises(TextError, match="r.csv.gz cannot be read as a CSV table"):
        read_reports(tmp_path / "r.csv.gz")


def test_plain_tables(tmp_path):
    columns = {"sample_id": ["s2", "s1", "", "s2"], "patient_id": ["p"] * 4}
    texts = [f"{LONG}\r\nsecond line", f"{LONG} NA, no\0x", LONG, f"{LONG} more"]
    frame = pd.DataFrame(columns | {"text": texts})
    frame.to_parquet(tmp_path / "r.parquet")
    frame.to_csv(tmp_path / "r.csv", index=False)
    frame.to_csv(tmp_path / "r.tsv", index=False, sep="\t")
    for name in ("r.parquet", "r.csv", "r.tsv"):
        found = read_reports(tmp_path / name)
        assert found.kind == "sample_id"
        assert found.texts["id"].tolist() == ["s2", "s1"]
        first = f"{LONG}\nsecond line\n\n{LONG} more"
        assert found.texts["text"].tolist() == [first, f"{LONG} NA, no\ufffdx"]
        assert has(found.notes, "1 rows have no sample_id: left out")
        assert has(found.notes, "1 texts have NUL or bytes of another encoding")


@pytest.mark.parametrize(
    "header", ["Case ID;Report", "PATIENT;Text", "submitter_id;TEXT"]
)
def test_columns_in_other_spellings(tmp_path, header):
    path = tmp_path / "r.csv"
    path.write_text(f"{header}\n007;{LONG}\nNA;{LONG} x\n", encoding="utf-16")
    found = read_reports(path)
    assert found.kind == "patient_id" and found.texts["id"].tolist() == ["007"]
    assert has(found.notes, "1 rows have no patient_id: left out")


def test_encodings(tmp_path):
    path = tmp_path / "r.csv"
    text = f"{LONG} Größe 3 µm"
    path.write_bytes(f"patient_id,text\np1,{text}\np2,{LONG}\n".encode("cp1252"))
    assert has(
        read_reports(path).notes, "1 texts have NUL or bytes of another encoding"
    )
    found = read_reports(path, encoding="cp1252")
    assert found.texts["text"][0] == text and not found.notes
    misread = text.encode().decode("cp1252")
    write(path, {"patient_id": ["p1"], "text": [misread]}, encoding="utf-8-sig")
    assert has(read_reports(path).notes, "1 texts look like UTF-8 read as Windows-1252")


def test_equal_texts_of_different_patients_are_named(tmp_path):
    path = write(tmp_path / "r.csv", {"patient_id": ["a", "b"], "text": [LONG, LONG]})
    found = read_reports(path)
    assert len(found.texts) == 2
    assert has(found.notes, "2 texts are equal though of different ids")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        (
            b"a,text\n1,x\n",
            "has the columns a, text; expected text and one of patient_f",
        ),
        (b"patient_id,note\n1,x\n", "has the columns patient_id, note"),
        (b"", "cannot be read as a CSV table"),
        (b'patient_id,text\n1,"never closed', "cannot be read as a CSV table"),
        (
            b"patient_id,text\n1,2,3\n4,5,6,7\n",
            "no text to use: 2 rows have more or fewer",
        ),
        (b"patient_id,text\np,short\n", "no text to use: 1 texts have fewer than 5"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, content, message):
    path = tmp_path / "r.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TextError, match=message):
        read_reports(path)


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "r.parquet").write_bytes(b"sample_id,text")
    with pytest.raises(TextError, match="cannot be read as Parquet"):
        read_reports(tmp_path / "r.parquet")


SOURCE = {"file": "r.csv", "sha256": "0" * 64}


def made(ids, kind="patient_id"):
    texts = pd.DataFrame({"id": ids, "text": [f"text of {one}" for one in ids]})
    return Reports(texts.assign(reports=1), kind, SOURCE, ())


def test_patients_and_samples_are_matched(tiny_study):
    found = match(tiny_study, made(["P03", "P01", "X"]))
    assert found.texts["sample_id"].tolist() == ["P01", "P03"]
    assert found.texts["text"].tolist() == ["text of P01", "text of P03"]
    assert found.unmatched == ("X",)
    assert len(found.without) == 10 and "P00" in found.without
    assert match(tiny_study, made(["P01"], "sample_id")).unmatched == ()
    with pytest.raises(TextError, match=r"none of 1 reports .* such as \['X'\].*'P00'"):
        match(tiny_study, made(["X"]))


def test_samples_of_a_patient_share_the_report(tiny_study, monkeypatch):
    spots = pd.DataFrame({"sample_id": list("abc"), "patient_id": ["P", "P", "Q"]})
    monkeypatch.setitem(tiny_study.__dict__, "samples", spots)
    found = match(tiny_study, made(["P"]))
    assert found.texts["sample_id"].tolist() == ["a", "b"]
    assert "2 samples of 1 patients" in found.notes[0]


def test_reports_are_replaced_only_when_asked(broken_copy):
    study, old = broken_copy, broken_copy.fingerprint
    joined = match(study, made(["P03", "P05"]))
    with pytest.raises(TextError, match="has 3 other reports already"):
        add_reports(study, joined, SOURCE)
    assert len(Study(study.root).reports()) == 3
    after, changed = add_reports(study, joined, SOURCE, replace=True)
    assert changed and after.fingerprint != old
    assert after.reports().equals(joined.texts)
    assert not check_study(after).problems
    assert after.meta["added"][-1]["source"] == SOURCE
    again, changed = add_reports(after, joined, SOURCE)
    assert not changed and again.fingerprint == after.fingerprint


def test_strict_adds_nothing_where_rows_are_left_out(broken_copy, tmp_path, capsys):
    path = tmp_path / "r.csv"
    path.write_text(f"case_id;text\nP03;{LONG}\nNA;{LONG}\nX;{LONG}\n")
    words = ["data", "reports", str(broken_copy.root), "--reports", str(path)]
    assert main([*words, "--replace", "--strict"]) == 1
    said = capsys.readouterr().err
    assert "1 rows have no patient_id: left out; 1 reports are of no sample" in said
    assert Study(broken_copy.root).fingerprint == broken_copy.fingerprint
    assert main([*words, "--replace"]) == 0
    assert len(Study(broken_copy.root).reports()) == 1
    path.write_text(f"case_id;text\nP03;{LONG}\n")
    assert main([*words, "--strict"]) == 0


def test_a_kill_leaves_a_whole_study(broken_copy, monkeypatch):
    joined = match(broken_copy, made(["P03", "P05"]))
    writes = []

    def stop_at_second(path, value, real=reports.write_json):
        writes.append(path)
        if len(writes) == 2:
            raise KeyboardInterrupt
        real(path, value)

    for module in (reports, additions):
        monkeypatch.setattr(module, "write_json", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        add_reports(broken_copy, joined, SOURCE, replace=True)
    left = Study(broken_copy.root)
    assert left.reports().empty and not check_study(left).problems
    monkeypatch.undo()
    after, changed = add_reports(left, joined, SOURCE)
    assert changed and len(after.reports()) == 2
    json.loads((after.root / "study.json").read_text())
