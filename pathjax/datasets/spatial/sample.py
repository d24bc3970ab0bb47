"""One sample of spatial transcriptomics, and what a format offers that is read as one."""

import abc
import dataclasses
from pathlib import Path
from typing import ClassVar

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Float

from pathjax.data.study import StudyError
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.options import SpatialOptions

# Ends the patient of samples whose metadata names none but that may be of one patient.
UNKNOWN = ":unknown"
# Columns of `SpatialSample.counts.obs` that are no labels.
ARRAY_COLUMNS = ("array_row", "array_col")


SPECIES = {"ENSG": "human", "ENSMUSG": "mouse"}
Note = tuple[str, str]  # what is left out, and why


class SpatialError(StudyError):
    """A sample cannot be read or trusted; the message names the file and says why."""


@dataclasses.dataclass(frozen=True)
class SpatialSample:
    """Counts of spots, bins or cells with their places in an image.

    Attributes:
      name: Unique in a study; sample ids are `f"{name}_{barcode}"`.
      counts: X holds raw whole counts, CSR `[spots, genes]`. obs_names are barcodes,
        var_names the ids as in the file; var has "gene_id" (Ensembl without version,
        or "") and "symbol" (or ""). obs has array_row and array_col if the technology
        has an array; its other columns are labels.
      positions: x and y of the centres in level-0 pixels of the image.
      image: Read lazily.
      mpp: Micrometres per pixel of the image by each source, the best first.
      spot_um: Diameter of a spot, or side of a bin.
      technology: Such as "Visium", "Visium HD", "Xenium", "ST".
      organism: "human" or "mouse"; by the Ensembl ids if not given, None without any.
      patient, site: From metadata; a manifest takes precedence.
      left_out: What is not in `counts`, and why.
      notes: Warnings.
    """

    name: str
    counts: anndata.AnnData
    positions: Float[np.ndarray, "spots 2"]
    image: ImageSource
    mpp: dict[str, float]
    spot_um: float
    technology: str
    organism: str | None = None
    patient: str | None = None
    site: str | None = None
    left_out: tuple[Note, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self):
        if self.organism is None:
            object.__setattr__(self, "organism", _organism_of(self.counts.var))
        problems = list(self._problems())
        if problems:
            raise SpatialError(f"sample {self.name}: " + "; ".join(problems))

    def _problems(self):
        names = self.counts.obs_names
        if len(names) != len(self.positions):
            yield f"{len(names)} spots have counts, {len(self.positions)} positions"
        if not len(names):
            yield "no spot is left"
        if names.has_duplicates:
            twice = names[names.duplicated()]
            yield f"{len(twice)} barcodes occur twice, first {twice[0]}"
        if not np.isfinite(self.positions).all():
            yield "some positions are no numbers"
        values = self.counts.X
        if not scipy.sparse.issparse(values):
            yield f"expected sparse counts, got {type(values).__name__}"
        elif len(values.data) and (values.data.min() < 0 or (values.data % 1).any()):
            yield (
                "expected raw counts, got values that are negative or not whole: "
                "give the counts before normalisation"
            )

    @property
    def sample_ids(self) -> list[str]:
        return [f"{self.name}_{barcode}" for barcode in self.counts.obs_names]

    def keep(self, rows: np.ndarray) -> "SpatialSample":
        """The sample with only these spots: a mask, or row numbers."""
        return dataclasses.replace(
            self, counts=self.counts[rows].copy(), positions=self.positions[rows]
        )


def _organism_of(var: pd.DataFrame) -> str | None:
    """The organism that most Ensembl ids are of; None without ids."""
    prefixes = var["gene_id"].str.extract("^([A-Z]+)", expand=False).dropna()
    return SPECIES.get(prefixes.mode()[0]) if len(prefixes) else None


class Format(abc.ABC):
    """A format; formats.py has them all.

    Attributes:
      name: Such as "Visium".
      needs: What a path of it has, for the error when nothing is recognised.
    """

    name: ClassVar[str]
    needs: ClassVar[str]

    @abc.abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether the path is meant to be of this format; it may still be incomplete."""

    def samples(self, path: Path) -> list[Path]:
        """The paths of the samples in it, each for `read`; the path itself by default.

        Raises:
          SpatialError: There is none.
        """
        return [path]

    @abc.abstractmethod
    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        """Reads a sample; its name is from the path.

        Raises:
          SpatialError: Something is missing or damaged.
        """
