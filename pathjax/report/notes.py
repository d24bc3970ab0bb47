"""What has to be said below a table: data, protocol, seeds, leakage, intervals, tests."""

from collections.abc import Sequence
from typing import Any

from pathjax.report.table_data import LEVEL, Row


def _by(entries, key) -> dict[Any, list[str]]:
    """Value of `key` -> tasks that have it, in order."""
    found: dict[Any, list[str]] = {}
    for entry in entries:
        tasks = found.setdefault(key(entry), [])
        if entry["task"] not in tasks:
            tasks.append(entry["task"])
    return found


def _audit_notes(entries: Sequence[dict[str, Any]]) -> list[str]:
    found: dict[tuple, list[str]] = {}
    for entry in entries:
        record = entry["audit"]
        status = record.get("status", "not audited")
        if status == "clean":
            continue
        overlap = [*record.get("patients", ()), *record.get("slides", ())]
        overlap = overlap or list(record.get("barcodes", ()))
        named = ", ".join(overlap[:5]) + (", ..." if len(overlap) > 5 else "")
        key = (entry["model"], status, named)
        tasks = found.setdefault(key, [])
        if entry["task"] not in tasks:
            tasks.append(entry["task"])
    words = {
        "unknown": "what it was trained on is unknown, so test patients may be among it",
        "not audited": "its training patients were not compared with the test patients",
        "declared": "it was trained on patients that the split declares as shared",
        "allowed": "TRAINED ON TEST PATIENTS, accepted by the user",
    }
    told = [
        f"{model}: {words.get(status, status)}{f' ({named})' if named else ''}: "
        f"{', '.join(tasks)}."
        for (model, status, named), tasks in found.items()
    ]
    seen = _by(
        [entry for entry in entries if entry["audit"].get("pretrained_on")],
        lambda entry: (entry["model"], *entry["audit"]["pretrained_on"]),
    )
    return told + [
        f"{model}: its foundation model was pre-trained, without labels, on "
        f"{', '.join(cohorts)}, which test patients are of: {', '.join(tasks)}."
        for (model, *cohorts), tasks in seen.items()
    ]


def notes_of(
    entries: Sequence[dict[str, Any]],
    rows: Sequence[Row],
    replicates: int,
    permutations: int,
) -> list[str]:
    """The notes, the gravest first."""
    notes = []
    synthetic = sorted({entry["study"] for entry in entries if entry["synthetic"]})
    if synthetic:
        notes.append(
            f"SYNTHETIC data ({', '.join(synthetic)}): nothing here is about patients."
        )
    for shared, tasks in _by(entries, lambda e: tuple(e["shared_patients"])).items():
        if shared:
            notes.append(
                f"Patients {', '.join(shared)} are in both fit and test, as the split "
                f"declares (sections held apart): {', '.join(tasks)}."
            )
    notes += _audit_notes(entries)
    for count, tasks in _by(entries, lambda e: (e["n"], e["n_patients"])).items():
        few = (
            ""
            if count[1] > 1
            else (
                "; intervals and tests are over rows of this one patient, which says "
                "nothing about other patients"
            )
        )
        notes.append(
            f"Test rows {count[0]}, patients {count[1]}{few}: {', '.join(tasks)}."
        )
    for protocol, tasks in _by(entries, lambda e: (e["protocol"], e["metric"])).items():
        notes.append(f"Protocol {protocol[0]}, {protocol[1]}: {', '.join(tasks)}.")
    constant = _by(
        entries,
        lambda e: (
            e["hyper"].get("constant_genes", 0) if e["kind"] == "expression" else 0
        ),
    )
    for count, tasks in constant.items():
        if count:
            notes.append(
                f"Genes constant over the test rows, not in the mean: {count}: "
                f"{', '.join(tasks)}."
            )
    seeds = ", ".join(f"{row.name} {row.seeds}" for row in rows)
    notes.append(
        f"Seeds: {seeds}. A value is the mean over seeds. In brackets: 95 % percentile "
        f"intervals of {replicates} paired bootstrap replicates over test patients and "
        "seeds; a delta in bold has an interval that excludes 0."
    )
    if any(row.base is not None and row.seeds == 1 for row in rows):
        notes.append(
            "With one seed an interval does not cover the variation of fine-tuning."
        )
    return notes + _test_notes(rows, permutations)


def _test_notes(rows: Sequence[Row], permutations: int) -> list[str]:
    tested = [
        (task, delta)
        for row in rows
        for task, delta in row.deltas.items()
        if delta.p is not None
    ]
    if not tested:
        return []
    star = (
        f"*: p < {LEVEL} in a two-sided paired permutation test, in which base and "
        "tuned change places patient by patient, in all tasks and seeds alike "
        f"({permutations} permutations, or all there are where they are fewer), after "
        "Holm's correction over a model's tasks; the mean delta is one test, not "
        "corrected. A test does not cover the variation of fine-tuning."
    )
    # A pattern and its opposite have equally large deltas: the least exact p is of two.
    few = {task: None for task, delta in tested if 2 / delta.permutations >= LEVEL}
    if not few:
        return [star]
    named = ", ".join(few)
    return [star, f"So few test patients that no p can be below {LEVEL}: {named}."]
