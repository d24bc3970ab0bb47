"""Folds of published benchmarks, from their own files, as splits of a study.

    Patho-Bench: k=all.tsv with case_id, slide_id, a label, fold_0, fold_1, ... (train, test)
    HEST-bench:  TASK/splits/ with train_0.csv, test_0.csv, ... and a column sample_id
    -> read_folds -> Rounds -> splits_of(study, name, rounds) -> splits, notes

Layouts as in mahmoodlab/Patho-Bench, patho_bench/datasets/DataSplit.py (660e770), and
mahmoodlab/HEST, src/hest/bench/benchmark.py (0512f57). Labels are not read: a study has
its own targets. Nothing is written; add_split.py does that.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pathjax.data import tables
from pathjax.data.split import UNITS
from pathjax.data.study import Split, Study, StudyError
from pathjax.files import reading

ROLES = ("train", "val", "test")
FOLD = re.compile(r"fold_(\d+)")
IDS = ("case_id", "slide_id", "sample_id")  # of which Patho-Bench has the first two


@dataclasses.dataclass(frozen=True)
class Rounds:
    """Who fits and who is tested in each round of a benchmark.

    Attributes:
      ids: A row for each line of the files, the ids as the columns of `IDS` there are.
      roles: A column for each round: "train", "val", "test", or "" for neither.
      unread: Other columns of the files.
    """

    ids: pd.DataFrame
    roles: pd.DataFrame
    unread: tuple[str, ...] = ()


def read_folds(path: Path) -> Rounds:
    """The rounds of a Patho-Bench table, or of a HEST-bench folder.

    Raises:
      StudyError: It is neither, or holds other words than `ROLES`.
    """
    return _hest(path) if path.is_dir() else _patho_bench(path)


def _patho_bench(path: Path) -> Rounds:
    try:
        table = tables.read_table(path)
    except ValueError as error:
        raise StudyError(str(error)) from error
    folds = sorted(filter(FOLD.fullmatch, table), key=lambda name: int(name[5:]))
    known = [name for name in IDS if name in table]
    if not folds or not known:
        raise StudyError(
            f"{path}: expected columns case_id, slide_id and fold_0, fold_1, ... as in "
            f"Patho-Bench's k=all.tsv, got {', '.join(map(str, table))[:200]}"
        )
    roles = table[folds].apply(lambda column: column.str.lower())
    other = sorted(set(roles.to_numpy().ravel()) - {*ROLES, ""})
    if other:
        raise StudyError(
            f"{path}: expected {', '.join(ROLES)} or nothing in {folds[0]} to "
            f"{folds[-1]}, got {', '.join(other[:3])}"
        )
    roles.columns = [name.replace("_", "") for name in folds]
    unread = [name for name in table if name not in (*known, *folds)]
    return Rounds(table[known], roles, tuple(unread))


def hest_tables(folder: Path, columns=("sample_id",)) -> list[dict[str, pd.DataFrame]]:
    """train_0.csv and test_0.csv, and so on, by "train" and "test"; none is an empty list.

    Raises:
      StudyError: A file is missing or lacks a column.
    """
    rounds: list[dict[str, pd.DataFrame]] = []
    for k in range(len(list(folder.glob("test_*.csv"))) if folder.is_dir() else 0):
        rounds.append({})
        for role in ("train", "test"):
            path = folder / f"{role}_{k}.csv"
            with reading(path, StudyError):
                rounds[-1][role] = pd.read_csv(path, dtype=str)[list(columns)]
    return rounds


def _hest(folder: Path) -> Rounds:
    inside = folder / "splits"
    folder = inside if inside.is_dir() else folder
    columns = {}
    for k, parts in enumerate(hest_tables(folder)):
        both = set(parts["train"]["sample_id"]) & set(parts["test"]["sample_id"])
        if both:
            raise StudyError(
                f"{folder}: {min(both)} is in train_{k}.csv and test_{k}.csv"
            )
        columns[f"fold{k}"] = pd.concat(
            [part.assign(role=role).drop_duplicates() for role, part in parts.items()]
        ).set_index("sample_id")["role"]
    if not columns:
        raise StudyError(
            f"{folder}: expected train_0.csv, test_0.csv, ... of HEST-bench, or the path "
            "of a k=all.tsv of Patho-Bench"
        )
    roles = pd.DataFrame(columns).fillna("")
    ids = pd.DataFrame({"sample_id": roles.index.astype(str)})
    return Rounds(ids, roles.reset_index(drop=True))


def splits_of(
    study: Study, name: str, rounds: Rounds, source: str
) -> tuple[list[Split], list[str]]:
    """The rounds as splits of the study.

    Where every id is tested once, and fitted on in all other rounds, they are one split for
    cross-validation, with a fold for each test set. Else each round is a split of its own
    with folds train, test and perhaps val: NAME, or NAME-fold0, NAME-fold1, ...

    Args:
      study: Whose patients, slides or samples the files name.
      name, source: Of the splits, and of their notes.
      rounds: Of `read_folds`.

    Returns:
      The splits; and what a reader should know, such as ids that the study lacks.

    Raises:
      StudyError: The study has none of the ids, or an id has two roles in a round.
    """
    unit, ids = _unit(study, rounds)
    roles = rounds.roles.groupby(ids.to_numpy())
    several = roles.nunique().max(axis=1)
    if (several > 1).any():
        raise StudyError(
            f"{source}: {several.idxmax()} has several roles in one round: expected one "
            f"for all lines of a {unit}"
        )
    assigned = roles.first()
    known = assigned.index.isin(study.runs[unit].astype(str))
    notes = []
    if not known.all():
        notes.append(
            f"{(~known).sum()} of {len(known)} {unit}s of {source} are not in the study, "
            f"first {assigned.index[~known][0]}: left out"
        )
    assigned = assigned[known]
    beside = set(study.runs[unit].astype(str)) - set(assigned.index)
    if beside:
        notes.append(
            f"{len(beside)} {unit}s of the study, first {min(beside)}, are in no fold"
        )
    if rounds.unread:
        shown = ", ".join(map(str, rounds.unread[:5]))
        notes.append(f"not read: {shown} (labels are the study's own targets)")
    note = f"read from {source}"
    parts = {k: _folds(column) for k, column in assigned.items()}
    tested = (assigned == "test").sum(axis=1)
    whole = assigned.isin(("train", "test")).all(axis=None)
    if len(parts) > 1 and whole and (tested == 1).all():
        # Of some rounds the study may have nobody to test.
        tests = {str(k): part["test"] for k, part in parts.items() if "test" in part}
        parts = {"": tests}
    named = {
        f"{name}-{k}" if k and len(parts) > 1 else name: v for k, v in parts.items()
    }
    splits = []
    for own, folds in named.items():
        if len(folds) < 2:
            raise StudyError(
                f"split {own}: expected train and test, the study has only "
                f"{', '.join(folds)} of {source}"
            )
        shared = _shared(study, unit, folds)
        splits.append(Split(own, folds, unit, shared, note))
    patients = sorted(
        {patient for split in splits for patient in split.shared_patients}
    )
    if patients:
        notes.append(
            f"{len(patients)} patients, first {patients[0]}, are in several folds, which "
            "every table will say"
        )
    return splits, notes


def _unit(study: Study, rounds: Rounds) -> tuple[str, pd.Series]:
    """What the folds are of, and the id of each line; patients where that is possible."""
    found = {}
    for unit in UNITS:
        known = set(study.runs[unit].astype(str))
        for column in rounds.ids:
            hits = int(rounds.ids[column].isin(known).sum())
            consistent = rounds.roles.groupby(rounds.ids[column]).nunique()
            if hits and (unit != "patient_id" or consistent.max(axis=None) == 1):
                found[unit, column] = hits
    if not found:
        first = rounds.ids.iloc[0].tolist()
        raise StudyError(
            f"study {study.name} has none of the ids, such as {', '.join(first)}, as "
            f"patient, slide or sample; its first patient is {study.runs['patient_id'].iloc[0]}"
        )
    unit, column = max(found, key=lambda key: found[key])
    return unit, rounds.ids[column]


def _folds(roles: pd.Series) -> dict[str, tuple[str, ...]]:
    """Role -> ids in order, of the roles that there are."""
    each = {role: tuple(sorted(roles.index[roles == role])) for role in ROLES}
    return {role: ids for role, ids in each.items() if ids}


def _shared(study: Study, unit: str, folds: Mapping[str, tuple[str, ...]]):
    """Patients in several folds; none of a split by patient."""
    if unit == "patient_id":
        return ()
    owner = study.runs.drop_duplicates(unit).set_index(unit)["patient_id"]
    fold = {name: k for k, ids in folds.items() for name in ids}
    pairs = owner[owner.index.isin(fold)]
    counts = pd.Series(pairs.index.map(fold)).groupby(pairs.to_numpy()).nunique()
    return tuple(sorted(map(str, counts.index[counts > 1])))
