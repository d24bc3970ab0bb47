"""One sample of spatial transcriptomics: what every format is read as."""

import dataclasses

import anndata
import numpy as np
import scipy.sparse
from jaxtyping import Float

from pathjax.data.study import StudyError
from pathjax.datasets.spatial.image import ImageSource

# Ends the patient of samples whose metadata names none but that may be of one patient.
UNKNOWN = ":unknown"
# Columns of `SpatialSample.counts.obs` that are no labels.
ARRAY_COLUMNS = ("array_row", "array_col")


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
      organism: "human" or "mouse", None where nothing tells.
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
