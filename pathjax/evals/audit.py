"""The leakage audit: patients a model was trained on against patients it is tested on.

    checkpoint history, test rows -> audit -> record for the result entry

Two patients are the same when their ids are equal, in whichever studies (two products
of one cohort may have two names), or when a TCGA barcode is found in both. A false
alarm costs the user one flag; a missed one costs the result its meaning. The audit
knows what checkpoints declare, nothing else: an encoder of unknown origin is recorded
as unknown, not as clean.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

# Participant part of a TCGA barcode, 12 characters: project, tissue source site,
# participant (NCI GDC, "TCGA Barcode").
BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)
ID_COLUMNS = ("patient_id", "sample_id", "slide_id", "tile_id")


class AuditError(ValueError):
    """A model was trained on patients it is to be tested on, or nobody can tell."""


def barcodes(ids: Iterable[str]) -> set[str]:
    """TCGA participant barcodes found anywhere in the ids, in capitals."""
    return {match.upper() for one in ids for match in BARCODE.findall(str(one))}


def _check_history(history: Sequence[Mapping[str, Any]]) -> None:
    problems = []
    for place, entry in enumerate(history):
        missing = [
            key for key in ("study", "fingerprint", "patients") if key not in entry
        ]
        if missing:
            problems.append(f"entry {place} lacks {', '.join(missing)}")
        elif isinstance(entry["patients"], str):
            problems.append(
                f"entry {place}: patients is a string, wanted a list of ids"
            )
    if problems:
        raise AuditError(
            f"the checkpoint's training history cannot be read: {'; '.join(problems)}. "
            "Wanted for each stage: study, fingerprint, patients"
        )


def overlap(
    history: Sequence[Mapping[str, Any]], test: pd.DataFrame
) -> dict[str, list[str]]:
    """What training and the test rows share: sorted patients, barcodes and slides.

    Args:
      history: for each training stage (pre-training, fine-tuning): study, fingerprint,
        patients, and optionally slides.
      test: the test fold's rows of `study.tiles`.

    Raises:
      AuditError: the history is malformed.
    """
    _check_history(history)
    trained = {str(one) for entry in history for one in entry["patients"]}
    slides = {str(one) for entry in history for one in entry.get("slides") or ()}
    known = barcodes(trained | slides)
    found: set[str] = set()
    for column in ID_COLUMNS:
        if column in test:
            found |= barcodes(test[column].astype(str).unique())
    return {
        "patients": sorted(trained & set(test["patient_id"].astype(str))),
        "barcodes": sorted(known & found),
        "slides": sorted(slides & set(test["slide_id"].astype(str))),
    }


def audit(
    model: str,
    history: Sequence[Mapping[str, Any]] | None,
    tests: Mapping[str, tuple[pd.DataFrame, Sequence[str]]],
    allow: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """Audits one model for several tasks.

    Args:
      model: its name, for the message.
      history: as in `overlap`; None or empty when nobody knows what it was trained on.
      tests: task name to (rows of `study.tiles` in the test fold, patients that the
        task's split declares as shared).
      allow: task names whose overlap the user accepts; it then stands in the table.

    Returns:
      Task name to a record with `status`: "clean"; "unknown" (no history); "declared"
      (only patients that the split declares as shared, and no shared slide);
      "allowed" (an overlap that `allow` names); and what overlaps.

    Raises:
      AuditError: overlaps that are neither declared nor allowed, all tasks at once; or
        `allow` names no task.
    """
    strangers = sorted(set(allow) - set(tests))
    if strangers:
        raise AuditError(
            f"overlap is allowed for {', '.join(strangers)}, but the tasks are "
            f"{', '.join(tests) or 'none'}"
        )
    if not history:
        nothing: list[str] = []
        return {
            name: {"status": "unknown", "patients": nothing, "stages": nothing}
            for name in tests
        }
    records, refused = {}, []
    stages = [entry.get("study") for entry in history]
    for name, (rows, declared) in tests.items():
        shared = overlap(history, rows)
        plain = barcodes(declared) | set(declared)
        beyond = (
            sorted((set(shared["patients"]) | set(shared["barcodes"])) - plain)
            + shared["slides"]
        )
        record = {"stages": stages, **shared}
        # A split by slide shares patients on purpose; only the slides can tell then.
        record["slides_known"] = all(entry.get("slides") for entry in history)
        if beyond and name not in allow:
            named = ", ".join(beyond[:10]) + (", ..." if len(beyond) > 10 else "")
            refused.append(f"{name}: {len(beyond)} ({named})")
        any_shared = any(shared.values())
        record["status"] = (
            "allowed" if beyond else "declared" if any_shared else "clean"
        )
        records[name] = record
    if refused:
        raise AuditError(
            f"model {model} was trained on patients or slides of the test folds: "
            f"{'; '.join(refused)}. Choose splits that hold them apart, or name the "
            "tasks in allow_overlap; the table will then say so"
        )
    return records
