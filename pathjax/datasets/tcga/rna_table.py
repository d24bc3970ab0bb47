"""What every reader of RNA returns: samples, genes, values, and where they came from."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from pathjax.data.tcga_barcodes import Barcode

Note = tuple[str, str]  # what was skipped, and why


@dataclasses.dataclass
class RnaTable:
    """Expression of some samples, from one file or one folder.

    Attributes:
      x: `[samples, genes]`, on the scale named by `x_units`.
      counts: Raw counts of the same shape, None where there are none.
      obs: A row per sample, from `observations`.
      var: A row per gene, from `genes.reconcile`.
      units: The scale of the file, a key of `rna_units.UNITS`.
      x_units: The scale of `x` in words.
      evidence: Why these units.
      genes: Number of genes read, kept, summed and dropped, by reason.
      files: Name, SHA-256 and size in bytes of each file read.
      skipped: Samples and files skipped.
    """

    x: Float32[np.ndarray, "n G"]
    counts: Int32[np.ndarray, "n G"] | None
    obs: pd.DataFrame
    var: pd.DataFrame
    units: str
    x_units: str
    evidence: list[str]
    genes: dict[str, int]
    files: list[tuple[str, str, int]]
    skipped: list[Note]


def sample_as_given(barcode: Barcode) -> str:
    """15 characters, or 16 where the vial is known."""
    return barcode.sample + barcode.vial


def observations(
    barcodes: Sequence[Barcode],
    aliquots: Sequence[str],
    projects: str | Sequence[str],
    files: str | Sequence[str],
) -> pd.DataFrame:
    """A row per sample: case_id, sample_type, sample, aliquot, project, site, file.

    Unknown values are "". Rows have no names yet; see `named`.
    """
    return pd.DataFrame(
        {
            "case_id": [barcode.patient for barcode in barcodes],
            "sample_type": [barcode.sample_type for barcode in barcodes],
            "sample": [sample_as_given(barcode) for barcode in barcodes],
            "aliquot": aliquots,
            "project": projects,
            "site": [barcode.site for barcode in barcodes],
            "file": files,
        },
        dtype=object,
    )


def named(obs: pd.DataFrame) -> pd.DataFrame:
    """Indexes rows by sample barcode, uniquely.

    Rows of a sample that occurs several times are named by aliquot, and if those are
    equal too, numbered in the order of the rows.
    """
    name = obs["sample"].copy()
    repeated = name.duplicated(keep=False) & (obs["aliquot"] != "")
    name[repeated] = obs["aliquot"][repeated]
    repeated = name.duplicated(keep=False)
    number = (name.groupby(name).cumcount() + 1).astype(str)
    name[repeated] = name[repeated] + "#" + number[repeated]
    return obs.set_index(pd.Index(name.to_numpy(), dtype=object))
