"""What a study declares of its samples: targets, and splits into folds. Reads nothing."""

import dataclasses

import pandas as pd

from pathjax.data.study_tables import few

UNITS = ("patient_id", "slide_id", "sample_id")  # of which folds are


@dataclasses.dataclass(frozen=True)
class Target:
    """A label that tiles or samples carry.

    Attributes:
      name: Column in tiles.parquet or samples.parquet.
      level: "tile" or "sample".
      kind: "class" (strings, missing is None), "number" (floats, missing is NaN) or
        "survival" (months in the column, events in NAME_event; followup.py).
      classes: Class names in index order; empty for numbers.
      description: One line for a person.
    """

    name: str
    level: str
    kind: str
    classes: tuple[str, ...] = ()
    description: str = ""


@dataclasses.dataclass(frozen=True)
class Split:
    """Named folds of patients. Tiles and samples inherit their patient's fold.

    Attributes:
      name: File name without its ending.
      folds: Fold name to ids.
      unit: What the ids are: "patient_id"; "slide_id" where a study's design holds
        sections of one patient apart; "sample_id" where it divides the spots of one
        section by place.
      shared_patients: Patients in several folds, which every table has to name; not
        for "patient_id".
      note: One line for a person.
    """

    name: str
    folds: dict[str, tuple[str, ...]]
    unit: str = "patient_id"
    shared_patients: tuple[str, ...] = ()
    note: str = ""

    def problems(self, tiles: pd.DataFrame) -> list[str]:
        """What is wrong with the split, in sentences.

        Args:
          tiles: A table with each pair of `unit` and `patient_id` of the study at least
            once, such as `Study.runs`.
        """
        if self.unit not in UNITS:
            expected = f"{', '.join(UNITS)}: nothing is ever split by tile"
            return [f"split {self.name}: expected {expected}, got {self.unit!r}"]
        owners: dict[str, str] = {}
        twice = []
        for fold, ids in self.folds.items():
            for name in ids:
                if name in owners:
                    twice.append(f"{name} is in folds {owners[name]} and {fold}")
                owners[name] = fold
        problems = twice[:3]
        if len(twice) > 3:
            problems.append(f"{len(twice) - 3} more ids are in several folds")
        unknown = set(owners) - set(tiles[self.unit])
        problems += few(unknown, f"{self.unit}s are not in the study")
        if self.unit != "patient_id":
            pairs = tiles[[self.unit, "patient_id"]].drop_duplicates()
            folds = pairs.assign(fold=pairs[self.unit].map(owners)).dropna()
            counts = folds.groupby("patient_id")["fold"].nunique()
            undeclared = set(counts.index[counts > 1]) ^ set(self.shared_patients)
            problems += few(
                undeclared,
                "patients are in several folds or in shared_patients, not in both "
                "(declare them there, or split by patient)",
            )
        elif self.shared_patients:
            problems.append("shared_patients is for splits by slide or sample")
        return [f"split {self.name}: {problem}" for problem in problems]
