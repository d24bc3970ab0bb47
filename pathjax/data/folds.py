"""Assigns patients to folds, stratified by their labels.

The patient is the unit: tiles and samples inherit. `site_folds.py` keeps whole sites
together, `add_split.py` reads and writes studies; nothing is read or written here.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from pathjax.data.study import Split, StudyError

NO_LABEL = "(none)"
EVERYONE = ("all patients", "")


@dataclasses.dataclass(frozen=True)
class Folds:
    """Which fold each patient is in, and how well the classes are balanced.

    Attributes:
      fold: Patient id -> fold name, in the order of the patients given.
      counts: Patients by class (rows: label, class; the first is all patients) and fold
        (columns).
      targets: The counts that the fractions ask for, same shape, not rounded.
      notes: What a reader should know, such as a class that some fold lacks.
    """

    fold: dict[str, str]
    counts: pd.DataFrame
    targets: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def deviation(self) -> float:
        """Sum over classes and folds of |count - target| / patients of the class."""
        return deviation(self.counts.to_numpy(), self.targets.to_numpy())

    def split(self, name: str, note: str = "") -> Split:
        """The split as a study stores it, ids in order."""
        folds: dict[str, list[str]] = {fold: [] for fold in self.counts.columns}
        for patient, fold in self.fold.items():
            folds[fold].append(patient)
        ordered = {fold: tuple(sorted(ids)) for fold, ids in folds.items()}
        return Split(name, ordered, note=note)


def deviation(
    counts: Float[np.ndarray, "C F"], targets: Float[np.ndarray, "C F"]
) -> float:
    """Summed absolute deviation, each class weighted by 1 / its patients.

    So a rare class counts as much as a common one.
    """
    return float((np.abs(counts - targets).sum(1) / targets.sum(1)).sum())


def fractions_of(folds: int | Mapping[str, float]) -> dict[str, float]:
    """Fold name -> fraction of the patients: k equal folds "fold0", ..., or as given.

    Raises:
      StudyError: Fewer than two folds, a fraction of at most 0, or a sum other than 1.
    """
    if isinstance(folds, int):
        if folds < 2:
            raise StudyError(f"{folds} folds: expected 2 or more")
        return {f"fold{i}": 1 / folds for i in range(folds)}
    shares = {str(name): float(share) for name, share in folds.items()}
    listing = ", ".join(f"{name}={share:g}" for name, share in shares.items())
    if len(shares) < 2:
        raise StudyError(f"folds are {listing or 'none'}: expected 2 or more")
    if not all(share > 0 for share in shares.values()):
        raise StudyError(f"fractions are {listing}: expected each above 0")
    total = sum(shares.values())
    if not abs(total - 1) < 1e-6:
        raise StudyError(f"fractions {listing} sum to {total:g}: expected 1")
    return shares


def parse_fractions(text: str) -> dict[str, float]:
    """`train=.6,val=.4` as a mapping.

    Raises:
      StudyError: It is not written so, or a fold is named twice.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, share = part.partition("=")
        name = name.strip()
        try:
            number = float(share)
        except ValueError:
            number = None
        if not name or not equals or number is None or name in shares:
            raise StudyError(
                f"fractions {text!r}: cannot read {part!r}; expected each fold once, "
                "as train=.6,val=.4"
            )
        shares[name] = number
    return shares


def check_patients(patients: pd.DataFrame, columns: Sequence[str], folds: int) -> None:
    """Refuses a table without one row per patient, or without some columns.

    Raises:
      StudyError: What is wrong.
    """
    lacking = [name for name in ("patient_id", *columns) if name not in patients]
    if lacking:
        raise StudyError(f"patients lack the columns {', '.join(lacking)}")
    twice = patients["patient_id"][patients["patient_id"].duplicated()]
    if len(twice):
        raise StudyError(
            f"{len(twice)} patients have several rows, first {twice.iloc[0]}"
        )
    if len(patients) < folds:
        raise StudyError(f"{len(patients)} patients cannot fill {folds} folds")


def class_members(
    patients: pd.DataFrame, labels: Sequence[str]
) -> tuple[list[tuple[str, str]], Int[np.ndarray, "N C"]]:
    """Names of the classes, (label, class), and 1 where a patient is of one.

    The first class is all patients, so that sizes are balanced too. Patients without a
    label are a class of it.
    """
    names, columns = [EVERYONE], [np.ones(len(patients), np.int64)]
    for label in labels:
        column = patients[label]
        values = column.astype(object).where(column.notna(), NO_LABEL).astype(str)
        for value in sorted(set(values)):
            names.append((label, value))
            columns.append((values == value).to_numpy(np.int64))
    return names, np.stack(columns, axis=1)


def made_folds(
    patients: pd.DataFrame,
    labels: Sequence[str],
    shares: Mapping[str, float],
    assigned: Int[np.ndarray, "N"],
    notes: Sequence[str] = (),
) -> Folds:
    """The result, from the number of each patient's fold."""
    names, member = class_members(patients, labels)
    inside = np.eye(len(shares), dtype=np.int64)[assigned]
    index = pd.MultiIndex.from_tuples(names, names=["label", "class"])
    counts = pd.DataFrame(member.T @ inside, index, list(shares))
    targets = np.outer(member.sum(axis=0), list(shares.values()))
    folds = np.array(list(shares))[assigned].tolist()
    absent = [
        f"{label} {value} ({int(row.sum())} patients) is not in "
        f"{', '.join(row.index[row == 0])}"
        for (label, value), row in counts.iterrows()
        if (row == 0).any()
    ]
    return Folds(
        dict(zip(patients["patient_id"].tolist(), folds, strict=True)),
        counts,
        pd.DataFrame(targets, index, list(shares)),
        (*notes, *absent),
    )


def patient_folds(
    patients: pd.DataFrame,
    folds: int | Mapping[str, float],
    *,
    labels: Sequence[str] = (),
    seed: int = 0,
) -> Folds:
    """Assigns patients one by one; labels are balanced together.

    Patients with the same combination of labels are a stratum. Each fold gets its share
    of a stratum, rounded down; those left over go, one to a fold, where the classes of
    the stratum and all patients are furthest below their targets. So each count is less
    than one from its target in each stratum, and with one label in each class.

    Args:
      patients: A row each, columns `patient_id` and those named in `labels`.
      folds: Number of equal folds, or fold name -> fraction.
      labels: Columns to stratify by; without any, folds of the right size.
      seed: Of the order within a stratum.

    Raises:
      StudyError: Invalid folds, or too few patients for them.
    """
    shares = fractions_of(folds)
    check_patients(patients, labels, len(shares))
    _, member = class_members(patients, labels)
    share = np.array(list(shares.values()))
    rng = np.random.default_rng(seed)
    # By id first: the same patients in another order are the same folds.
    order = np.argsort(patients["patient_id"].to_numpy().astype(str), kind="stable")
    order = order[rng.permutation(len(order))]
    strata, stratum = np.unique(member[order], axis=0, return_inverse=True)
    behind = np.zeros((member.shape[1], len(share)))
    assigned = np.empty(len(patients), np.int64)
    for number, classes in enumerate(strata):
        rows = order[stratum.reshape(-1) == number]
        target = len(rows) * share
        # 1e-9: a third of nine is three, whatever the rounding of a third.
        seats = np.floor(target + 1e-9).astype(np.int64)
        behind += np.outer(classes, target - seats)
        first = np.argsort(-(classes @ behind).round(9), kind="stable")
        left = first[: len(rows) - seats.sum()]
        seats[left] += 1
        behind[:, left] -= classes[:, None]
        assigned[rows] = np.repeat(np.arange(len(share)), seats)
    if len(set(assigned.tolist())) < len(share):
        empty = [name for i, name in enumerate(shares) if i not in assigned]
        raise StudyError(
            f"{len(patients)} patients leave {', '.join(empty)} without any: use "
            "larger fractions or more patients"
        )
    return made_folds(patients, labels, shares, assigned)
