"""The leakage audit: patients a model was trained on against patients it is tested on.

    training history, test rows -> overlap -> examine -> a record for each task
    audit refuses to score a model that leaks; `pathjax audit` reports before training

Two patients are the same when their ids are equal, in whichever studies (two products
of one cohort may have two names), or when a TCGA barcode occurs in both, anywhere in a
patient's id, a slide's or a tile's file name. A false alarm costs the user one flag; a
missed one costs the result its meaning. The audit knows only what checkpoints declare:
an encoder of unknown origin is recorded as unknown, not as clean.
"""

import dataclasses
import functools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from pathjax.data.study import Study
from pathjax.evals import EvalError
from pathjax.evals.tasks import Task, validate_all
from pathjax.models.model_file import read_meta

# Participant part of a TCGA barcode, 12 characters: project, tissue source site,
# participant (NCI GDC, "TCGA Barcode").
BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)
ID_COLUMNS = ("patient_id", "sample_id", "slide_id", "tile_id")
NO_SITE = frozenset(("", "unknown"))  # what sources write for an unknown site
ROWS_AT_ONCE = 1 << 17
# What of a record is listed, and its words.
SHARED = {
    **{what: what for what in ("patients", "barcodes", "slides", "sites", "pictures")},
    "slide_pictures": "slides that look alike",
}
History = Sequence[Mapping[str, Any]]
Record = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class UnderTest:
    """What a task tests on.

    Attributes:
      rows: `ids_of` the tiles in its test folds.
      declared: Patients that the split declares as shared.
      site_preserved: Sites have to be held apart too.
    """

    rows: pd.DataFrame
    declared: tuple[str, ...] = ()
    site_preserved: bool = False


def under_test(task: Task, study, site_preserved: bool = False) -> UnderTest:
    """What a task of this study tests on."""
    tested = [fold for roles in task.fits(study) for fold in roles["test"]]
    rows = pd.concat([ids_of_fold(study, task.split, fold) for fold in tested])
    declared = study.split(task.split).shared_patients
    return UnderTest(rows, tuple(declared), site_preserved or task.site_preserved)


def ids_of(study, rows: Int[np.ndarray, "n"]) -> pd.DataFrame:
    """Distinct patients, samples, slides and sites of tiles; a table of their ids.

    Of the tiles' own ids there are only the barcodes. Tiles are read a part at a time.
    """
    parts = []
    for start in range(0, max(len(rows), 1), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        table = study.tile_rows(part, ["site", "tile_id"]).astype(str)
        table["tile_id"] = table["tile_id"].str.findall(BARCODE).str.join(" ")
        parts.append(table.assign(run=study.run_of(part)).drop_duplicates())
    found = pd.concat(parts).drop_duplicates()
    owners = study.runs.iloc[found.pop("run")]
    return found.reset_index(drop=True).join(owners.reset_index(drop=True))


@functools.lru_cache(maxsize=64)
def ids_of_fold(study, split: str, fold: str) -> pd.DataFrame:
    """`ids_of` a fold's tiles."""
    return ids_of(study, study.fold_tiles(split, fold))


def training_of(study, split: str, fold: str) -> Record:
    """A fold as a stage of training, as in a checkpoint's history."""
    rows = ids_of_fold(study, split, fold)
    columns = {"patients": "patient_id", "slides": "slide_id", "sites": "site"}
    ids = {
        key: sorted(rows[name].astype(str).unique()) for key, name in columns.items()
    }
    return {"study": study.name, "fingerprint": study.fingerprint, **ids}


def barcodes(ids: Iterable[str]) -> set[str]:
    """TCGA participant barcodes anywhere in the ids, in capitals."""
    return {match.upper() for text in ids for match in BARCODE.findall(str(text))}


def tcga_patients(test: pd.DataFrame) -> set[str]:
    """TCGA patients among test rows, by the barcodes in any of their ids."""
    columns = [column for column in ID_COLUMNS if column in test]
    return set().union(*(barcodes(test[name].astype(str).unique()) for name in columns))


def _check_history(history: History) -> None:
    problems = []
    for place, entry in enumerate(history):
        missing = {"study", "fingerprint", "patients"} - entry.keys()
        if missing:
            problems.append(f"entry {place} lacks {', '.join(sorted(missing))}")
        elif isinstance(entry["patients"], str):
            problems.append(
                f"entry {place}: expected patients to be a list of ids, got a string"
            )
    if problems:
        raise EvalError(
            f"the checkpoint's training history cannot be read: {'; '.join(problems)}. "
            "Expected for each stage: study, fingerprint, patients"
        )


def overlap(history: History, test: pd.DataFrame) -> dict[str, list[str]]:
    """Patients, barcodes, slides and sites that training and the test rows share.

    Args:
      history: For each training stage (pre-training, fine-tuning): study, fingerprint,
        patients, and optionally slides and sites.
      test: `ids_of` the tested tiles.

    Raises:
      EvalError: The history is malformed.
    """
    _check_history(history)
    trained, slides, sites = (
        {str(name) for entry in history for name in entry.get(key) or ()}
        for key in ("patients", "slides", "sites")
    )
    known, tested = barcodes(trained | slides), tcga_patients(test)
    # TCGA's sites have one code in all studies: characters 6 and 7 of a barcode.
    sites |= {code[5:7] for code in known}
    test_sites = set(test["site"].astype(str)) if "site" in test else set()
    test_sites |= {code[5:7] for code in tested}
    return {
        "patients": sorted(trained & set(test["patient_id"].astype(str))),
        "barcodes": sorted(known & tested),
        "slides": sorted(slides & set(test["slide_id"].astype(str))),
        "sites": sorted((sites & test_sites) - NO_SITE),
    }


def examine(
    history: History | None, test: UnderTest, pretrained_on_tcga: bool | None = None
) -> Record:
    """A task's record as in `audit`, refusing nothing.

    `status` is "overlap" where something is shared that the split does not declare;
    `beyond` lists it.
    """
    known = history or []
    shared = overlap(known, test.rows)
    plain = barcodes(test.declared) | set(test.declared)
    beyond = sorted((set(shared["patients"]) | set(shared["barcodes"])) - plain)
    beyond += shared["slides"]
    if test.site_preserved:
        beyond += [f"site {name}" for name in shared["sites"]]
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
    chosen = {str(name) for entry in known for name in entry.get("selection") or ()}
    if shared_selection := chosen & set(test.rows["patient_id"].astype(str)):
        record["selected_on"] = len(shared_selection)
    if pretrained_on_tcga and (seen := len(tcga_patients(test.rows))):
        record["pretrained_on"] = {"TCGA": seen}
    return record


def is_untrained(meta: Mapping[str, Any]) -> bool:
    """Whether a model file says that its parameters are random and saw no patient."""
    return bool(meta.get("untrained")) and not meta["audit"]


def audit(
    model: str,
    history: History | None,
    tests: Mapping[str, UnderTest],
    allow: Collection[str] = (),
    pretrained_on_tcga: bool | None = None,
) -> dict[str, Record]:
    """Audits one model for several tasks.

    Args:
      model: Its name, for the message.
      history: As in `overlap`; None or empty when its training is unknown.
      tests: Task name to what it tests on.
      allow: Task names whose overlap the user accepts; the table then says so.
      pretrained_on_tcga: What the registry says of the foundation model it comes from.

    Returns:
      Task name to a record with `status`: "clean"; "unknown" (no history); "declared"
      (only patients that the split declares as shared, and no shared slide);
      "allowed" (an overlap that `allow` names); what overlaps; and `pretrained_on`,
      how many of the test patients are TCGA's where the foundation model has seen TCGA;
      `selected_on`, how many were in the validation that chose the model.

    Raises:
      EvalError: Overlaps that are neither declared nor allowed, all tasks at once; or
        `allow` names no task.
    """
    unknown = sorted(set(allow) - set(tests))
    if unknown:
        raise EvalError(
            f"overlap is allowed for {', '.join(unknown)}, but the tasks are "
            f"{', '.join(tests) or 'none'}"
        )
    records, leaks = {}, []
    for name, test in tests.items():
        records[name] = record = examine(history, test, pretrained_on_tcga)
        beyond = record["beyond"]
        if beyond and name in allow:
            record["status"] = "allowed"
        elif beyond:
            first = ", ".join(beyond[:10]) + (", ..." if len(beyond) > 10 else "")
            leaks.append(f"{name}: {len(beyond)} ({first})")
    if leaks:
        raise EvalError(
            f"model {model} was trained on patients, slides or sites of the test folds: "
            f"{'; '.join(leaks)}. Choose splits that hold them apart, or name the "
            "tasks in allow_overlap; the table will then say so"
        )
    return records


def audit_tasks(
    tasks: Sequence[Task],
    studies: Sequence[Study],
    *,
    trains: Sequence[str] = (),
    models: Sequence[str | Path] = (),
    registry: Mapping[str, bool | None] | None = None,
    site_preserved: bool = False,
) -> list[Record]:
    """A record for each task and each thing trained on, and for the task's own folds.

    Args:
      tasks, studies: What will be asked, of which studies.
      trains: STUDY:SPLIT or STUDY:SPLIT:FOLD, a folder or the name of one of `studies`.
      models: Run folders, model files or names of the registry.
      registry: Foundation model to whether it was pre-trained on TCGA.
      site_preserved: Sites have to be held apart in all tasks.

    Returns:
      Records of `examine`, with `task` and `against`: "its own fit fold", a training
      fold, or a model.

    Raises:
      EvalError: Tasks do not fit the studies, or an unknown training fold or model.
    """
    by_name = {study.name: study for study in studies}
    validate_all(list(tasks), by_name)
    against: dict[str, tuple[History, bool | None]] = {
        text: ([training_of(*training_fold(text, by_name))], None) for text in trains
    }
    untrained: set[str] = set()
    for path in map(str, models):
        if registry and path in registry:
            against[path] = [], registry[path]
        else:
            meta = read_meta(path)
            seen = meta.get("foundation", {}).get("pretrained_on_tcga")
            against[path] = meta["audit"], seen
            if is_untrained(meta):
                untrained.add(path)
    records = []
    for task in tasks:
        study = by_name[task.study]
        test = under_test(task, study, site_preserved)
        found = list(_own_folds(task, study, test)) + [
            (name, examine(history, test, seen))
            for name, (history, seen) in against.items()
        ]
        records += [
            {"task": task.name, "against": name}
            | part
            | ({"status": "untrained"} if name in untrained else {})
            for name, part in found
        ]
    return records


def _own_folds(task: Task, study: Study, test: UnderTest):
    """A task's own fit and select folds against its test fold, fit by fit."""
    for roles in task.fits(study):
        learned = [name for role in ("fit", "select") for name in roles.get(role, ())]
        if learned:
            history = [training_of(study, task.split, fold) for fold in learned]
            (fold,) = roles["test"]
            part = dataclasses.replace(test, rows=ids_of_fold(study, task.split, fold))
            yield f"its own fit fold, test {fold}", examine(history, part)


def training_fold(text: str, studies: Mapping[str, Study]) -> tuple[Study, str, str]:
    """Study, split and fold of STUDY:SPLIT[:FOLD].

    Raises:
      EvalError: It has another form.
    """
    words = text.rsplit(":", min(2, text.count(":") - text.count("://")))
    if len(words) not in (2, 3) or not all(words):
        raise EvalError(
            f"--train {text}: expected STUDY:SPLIT or STUDY:SPLIT:FOLD, where STUDY is "
            "a folder or the name of one of --study"
        )
    where, split, fold = (*words, "train")[:3]
    return studies.get(where) or Study(where), split, fold


def refused(records: Sequence[Record]) -> list[Record]:
    """Records of overlaps that no split declares."""
    return [record for record in records if record["beyond"]]


def describe(records: Sequence[Record]) -> list[str]:
    """A line for each record, and one that sums up."""
    lines = []
    for record in records:
        shared = [
            f"{len(record[what])} {label} ({', '.join(record[what][:3])}"
            + (", ...)" if len(record[what]) > 3 else ")")
            for what, label in SHARED.items()
            if record.get(what)
        ]
        if record["status"] == "unknown":
            shared.insert(0, "its training patients are unknown")
        if count := record.get("selected_on"):
            shared.append(f"chosen by a validation on {count} of the test patients")
        if seen := record.get("pretrained_on", {}).get("TCGA"):
            shared.append(f"pre-trained on TCGA, which has {seen} of the test patients")
        status = "OVERLAP" if record["beyond"] else record["status"]
        words = [*(shared or ["nothing shared"]), *record.get("not_compared", ())]
        head = f"{record['task']} | {record['against']}: {status}"
        lines.append(f"{head}: {'; '.join(words)}")
    return [*lines, f"{len(refused(records))} of {len(records)} overlap"]
