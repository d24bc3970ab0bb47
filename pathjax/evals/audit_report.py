"""`pathjax audit`: everything a set of tasks can leak, before a chip is paid for.

    tasks, studies, training folds or models -> audit_tasks -> records -> describe

Three questions for each task: do its own fit and test folds share anybody; was what
is to be trained (a study's fold) or was trained (a model) on its test patients; and has
the foundation model seen TCGA. It refuses nothing: the command's exit status does.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pathjax.data.study import Study
from pathjax.evals.audit import UnderTest, examine, training_of, under_test
from pathjax.evals.tasks import Task, validate_all
from pathjax.models.model_file import read_meta
from pathjax.zoo import MODELS

Record = dict[str, Any]


class AuditWordsError(ValueError):
    """What is to be audited is named in no known way."""


def audit_tasks(
    tasks: Sequence[Task],
    studies: Sequence[Study],
    *,
    trains: Sequence[str] = (),
    models: Sequence[str | Path] = (),
    site_preserved: bool = False,
) -> list[Record]:
    """A record for each task and each thing trained on.

    Args:
      tasks: what will be asked.
      studies: the studies they are of.
      trains: STUDY:SPLIT or STUDY:SPLIT:FOLD, a folder or the name of one of `studies`.
      models: run folders, model files or names of the registry.
      site_preserved: sites have to be held apart in all tasks.

    Returns:
      Records of `audit.examine`, with `task` and `against`: "its own fit fold", a
      training fold, or a model.

    Raises:
      TaskError: tasks do not fit the studies.
      AuditWordsError: a training fold or a model is named in no known way.
    """
    by_name = {study.name: study for study in studies}
    validate_all(list(tasks), by_name)
    against = {text: ([_training(text, by_name)], None) for text in trains}
    against |= {str(path): _model(path) for path in models}
    found = []
    for task in tasks:
        test = under_test(task, by_name[task.study], site_preserved)
        found += _own(task, by_name[task.study], test)
        for name, (history, pretrained) in against.items():
            record = examine(history, test, pretrained)
            found.append({"task": task.name, "against": name, **record})
    return found


def _own(task: Task, study: Study, test: UnderTest) -> list[Record]:
    """A task's own fit and select folds against its test fold, round by round."""
    found = []
    for roles in task.rounds(study):
        learned = [name for role in ("fit", "select") for name in roles.get(role, ())]
        if not learned:
            continue
        history = [training_of(study, task.split, fold) for fold in learned]
        (fold,) = roles["test"]
        rows = study.tiles.iloc[study.fold_tiles(task.split, fold)]
        part = dataclasses.replace(test, rows=rows)
        name = f"its own fit fold, test {fold}"
        found.append({"task": task.name, "against": name, **examine(history, part)})
    return found


def _training(text: str, studies: dict[str, Study]) -> Record:
    words = text.rsplit(":", 2) if text.count(":") > 1 else text.split(":")
    if len(words) not in (2, 3) or not all(words):
        raise AuditWordsError(
            f"--train {text}: wanted STUDY:SPLIT or STUDY:SPLIT:FOLD, where STUDY is a "
            "folder or the name of one of --study"
        )
    where, split, fold = (*words, "train")[:3]
    study = studies.get(where) or Study(where)
    return training_of(study, split, fold)


def _model(path: str | Path) -> tuple[list[Record], bool | None]:
    if str(path) in MODELS:
        return [], MODELS[str(path)].pretrained_on_tcga
    meta = read_meta(path)
    return meta["audit"], meta.get("foundation", {}).get("pretrained_on_tcga")


def refused(records: Sequence[Record]) -> list[Record]:
    """Records of overlaps that nobody declared."""
    return [record for record in records if record["beyond"]]


def describe(records: Sequence[Record]) -> list[str]:
    """A line for each record, and one that sums up."""
    lines = []
    for record in records:
        shared = [
            f"{len(record[what])} {what} ({', '.join(record[what][:3])}"
            + (", ...)" if len(record[what]) > 3 else ")")
            for what in ("patients", "barcodes", "slides", "sites")
            if record.get(what)
        ]
        seen = record.get("pretrained_on", {}).get("TCGA")
        if seen:
            shared.append(f"pre-trained on TCGA, which {seen} test patients are of")
        word = "OVERLAP" if record["beyond"] else record["status"]
        told = "; ".join(shared) or "nothing shared"
        if record["status"] == "unknown":
            told = "; ".join(["nobody knows which patients it was trained on", *shared])
        lines.append(f"{record['task']} | {record['against']}: {word}: {told}")
    bad = len(refused(records))
    return [*lines, f"{bad} of {len(records)} overlap"]
