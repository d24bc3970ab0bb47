"""The leakage audit: patients a model was trained on against patients it is tested on.

    checkpoint history or a study's fold, test rows -> audit -> record of each task

Two patients are the same when their ids are equal, in whichever studies (two products
of one cohort may have two names), or when a TCGA barcode is found in both, wherever it
stands: in a patient's id, a slide's or a tile's file name. A false alarm costs the user
one flag; a missed one costs the result its meaning. The audit knows what checkpoints
declare, nothing else: an encoder of unknown origin is recorded as unknown, not as clean.
"""

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from pathjax.evals.tasks import Task

# Participant part of a TCGA barcode, 12 characters: project, tissue source site,
# participant (NCI GDC, "TCGA Barcode").
BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)
ID_COLUMNS = ("patient_id", "sample_id", "slide_id", "tile_id")
NO_SITE = frozenset(("", "unknown"))  # what sources write where nobody knows


class AuditError(ValueError):
    """A model was trained on patients it is to be tested on, or nobody can tell."""


@dataclasses.dataclass(frozen=True)
class UnderTest:
    """What a task tests on.

    Attributes:
      rows: rows of `study.tiles` in its test folds.
      declared: patients that the split declares as shared.
      site_preserved: sites have to be held apart too.
    """

    rows: pd.DataFrame
    declared: tuple[str, ...] = ()
    site_preserved: bool = False


def under_test(task: Task, study, site_preserved: bool = False) -> UnderTest:
    """What a task tests on, in the study it is of."""
    rows = study.tiles.iloc[task.test_tiles(study)]
    declared = study.split(task.split).shared_patients
    return UnderTest(rows, tuple(declared), site_preserved or task.site_preserved)


def training_of(study, split: str, fold: str) -> dict[str, Any]:
    """A fold as a stage of training, as a checkpoint's history has it."""
    rows = study.tiles.iloc[study.fold_tiles(split, fold)]
    return {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "patients": sorted(rows["patient_id"].astype(str).unique()),
        "slides": sorted(rows["slide_id"].astype(str).unique()),
        "sites": sorted(rows["site"].astype(str).unique()),
    }


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
    """What training and the test rows share: patients, barcodes, slides and sites.

    Args:
      history: for each training stage (pre-training, fine-tuning): study, fingerprint,
        patients, and optionally slides and sites.
      test: the test fold's rows of `study.tiles`.

    Raises:
      AuditError: the history is malformed.
    """
    _check_history(history)
    trained = {str(one) for entry in history for one in entry["patients"]}
    slides = {str(one) for entry in history for one in entry.get("slides") or ()}
    known, found = barcodes(trained | slides), tcga_patients(test)
    sites = {str(one) for entry in history for one in entry.get("sites") or ()}
    # TCGA's sites have one code in all studies: characters 6 and 7 of a barcode.
    sites |= {code[5:7] for code in known}
    there = set(test["site"].astype(str)) if "site" in test else set()
    there |= {code[5:7] for code in found}
    return {
        "patients": sorted(trained & set(test["patient_id"].astype(str))),
        "barcodes": sorted(known & found),
        "slides": sorted(slides & set(test["slide_id"].astype(str))),
        "sites": sorted((sites & there) - NO_SITE),
    }


def tcga_patients(test: pd.DataFrame) -> set[str]:
    """TCGA patients among test rows, by the barcodes in any of their ids."""
    columns = [column for column in ID_COLUMNS if column in test]
    return set().union(*(barcodes(test[one].astype(str).unique()) for one in columns))


def audit(
    model: str,
    history: Sequence[Mapping[str, Any]] | None,
    tests: Mapping[str, UnderTest],
    allow: Collection[str] = (),
    pretrained_on_tcga: bool | None = None,
) -> dict[str, dict[str, Any]]:
    """Audits one model for several tasks.

    Args:
      model: its name, for the message.
      history: as in `overlap`; None or empty when nobody knows what it was trained on.
      tests: task name to what it tests on.
      allow: task names whose overlap the user accepts; it then stands in the table.
      pretrained_on_tcga: what the registry says of the foundation model it comes from.

    Returns:
      Task name to a record with `status`: "clean"; "unknown" (no history); "declared"
      (only patients that the split declares as shared, and no shared slide);
      "allowed" (an overlap that `allow` names); what overlaps; and `pretrained_on`,
      how many of the test patients are TCGA's where the foundation model has seen TCGA.

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
    records = {
        name: examine(history, test, pretrained_on_tcga) for name, test in tests.items()
    }
    refused = []
    for name, record in records.items():
        beyond = record["beyond"]
        if beyond and name in allow:
            record["status"] = "allowed"
        elif beyond:
            named = ", ".join(beyond[:10]) + (", ..." if len(beyond) > 10 else "")
            refused.append(f"{name}: {len(beyond)} ({named})")
    if refused:
        raise AuditError(
            f"model {model} was trained on patients, slides or sites of the test folds: "
            f"{'; '.join(refused)}. Choose splits that hold them apart, or name the "
            "tasks in allow_overlap; the table will then say so"
        )
    return records


def examine(
    history: Sequence[Mapping[str, Any]] | None,
    test: UnderTest,
    pretrained_on_tcga: bool | None = None,
) -> dict[str, Any]:
    """A task's record as in `audit`, refusing nothing.

    `status` is "overlap" where something is shared that nobody declared; `beyond` says
    what.
    """
    known = history or []
    shared = overlap(known, test.rows)
    plain = barcodes(test.declared) | set(test.declared)
    beyond = sorted((set(shared["patients"]) | set(shared["barcodes"])) - plain)
    beyond += shared["slides"]
    if test.site_preserved:
        beyond += [f"site {one}" for one in shared["sites"]]
    people = shared["patients"] or shared["barcodes"] or shared["slides"]
    status = "overlap" if beyond else "declared" if people else "clean"
    record = {
        "status": status if known else "unknown",
        "stages": [entry.get("study") for entry in known],
        # A split by slide shares patients on purpose; only the slides can tell then.
        "slides_known": bool(known) and all(entry.get("slides") for entry in known),
        **shared,
        "beyond": beyond,
    }
    if pretrained_on_tcga and (seen := len(tcga_patients(test.rows))):
        record["pretrained_on"] = {"TCGA": seen}
    return record
