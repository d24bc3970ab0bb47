"""Reports into a study: matched, checked, never half there."""

import json

import pandas as pd
import pytest

from pathjax.data.check import check_study
from pathjax.data.study import Study
from pathjax.data.text_store import TextError
from pathjax.text import join
from pathjax.text.join import add_reports, match
from pathjax.text.reports import Reports

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


def test_a_kill_leaves_a_whole_study(broken_copy, monkeypatch):
    joined = match(broken_copy, made(["P03", "P05"]))
    writes = []

    def stop_at_second(path, value, real=join.write_json):
        writes.append(path)
        if len(writes) == 2:
            raise KeyboardInterrupt
        real(path, value)

    monkeypatch.setattr(join, "write_json", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        add_reports(broken_copy, joined, SOURCE, replace=True)
    left = Study(broken_copy.root)
    assert left.reports().empty and not check_study(left).problems
    monkeypatch.undo()
    after, changed = add_reports(left, joined, SOURCE)
    assert changed and len(after.reports()) == 2
    json.loads((after.root / "study.json").read_text())
