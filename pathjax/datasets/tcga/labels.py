"""The labels of patients: what all sources say, joined, with every conflict listed.

    label files -> claims -> a row per patient: label, where it is from; conflicts

Rule: a label that all sources agree on is taken; one on which they do not is left
empty and listed with each source's word. No source is believed over another.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from pathjax.datasets.tcga.label_tables import Claim, header_of, read_table
from pathjax.datasets.tcga.maf import is_maf, read_maf, read_sequenced
from pathjax.datasets.tcga.tables import TcgaError
from pathjax.datasets.tcga.vocabulary import CLASSES


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of patients.

    Attributes:
      table: index patient; for each label a column with its class or None, and a column
        `<label>_source` with the files it is from.
      conflicts: a row per claim of a label that was left empty: patient, label, value,
        source.
    """

    table: pd.DataFrame
    conflicts: pd.DataFrame


def read_labels(
    paths: Sequence[str | Path], sequenced: str | Path | None = None
) -> Labels:
    """Reads and joins sources; what kind of file each is, its columns say.

    Args:
      paths: tables of labels and MAFs.
      sequenced: a file of samples that were sequenced, one a line, for the MAFs:
        without it a patient absent from a MAF has no TP53 status.

    Raises:
      TcgaError: all files that cannot be used, at once; or no MAF needs `sequenced`.
    """
    listed = () if sequenced is None else read_sequenced(sequenced)
    claims: list[Claim] = []
    problems: list[str] = []
    mafs = 0
    for path in map(Path, paths):
        try:
            maf = is_maf(header_of(path).names)
            mafs += maf
            claims += read_maf(path, listed) if maf else read_table(path)
        except TcgaError as error:
            problems.append(str(error))
    if sequenced is not None and not mafs and not problems:
        problems.append(
            f"{sequenced} lists sequenced samples, but no MAF is among the labels: give "
            "the MAF too, or leave the list out"
        )
    if problems:
        raise TcgaError("\n".join(problems))
    return join(claims)


def join(claims: Iterable[Claim]) -> Labels:
    """Joins claims by the module's rule."""
    frame = pd.DataFrame(
        map(dataclasses.astuple, claims),
        columns=["patient", "label", "value", "source"],
        dtype=object,
    ).drop_duplicates()
    groups = frame.groupby(["patient", "label"])
    agree = groups["value"].transform("nunique") == 1
    patients = pd.Index(sorted(frame["patient"].unique()), name="patient")
    table = pd.DataFrame(index=patients)
    for label in CLASSES:
        own = frame[agree & (frame["label"] == label)].groupby("patient")
        table[label] = own["value"].first().reindex(patients)
        table[f"{label}_source"] = own["source"].agg("; ".join).reindex(patients)
    table = table.astype(object)
    return Labels(
        table.where(table.notna(), None),
        frame[~agree].sort_values(["patient", "label", "source"], ignore_index=True),
    )
