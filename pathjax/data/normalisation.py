"""Expression from raw counts, by name; a study states which in `uns["pathjax"]["x"]`.

Nothing is estimated over samples: a row depends on its own counts alone.
"""

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float

from pathjax.data.expression import UNIT
from pathjax.data.study import StudyError
from pathjax.registry import did_you_mean

PER = 10_000.0
SHARED_UNIT = "log1p(counts per 10,000 of the genes that all samples measured)"
LOG_COUNTS, COUNTS = "log1p(counts)", "counts"
# Name -> what X then is, in the study's words.
UNITS = {
    "log1p_cp10k": UNIT,
    "log1p_cp10k_shared": SHARED_UNIT,
    "log1p": LOG_COUNTS,
    "none": COUNTS,
}


def totals(
    counts: scipy.sparse.csr_matrix,
    name: str,
    shared: Bool[np.ndarray, "G"] | None = None,
) -> Float[np.ndarray, "n"] | None:
    """What each sample's counts are divided by, / 10,000; None for the other scales.

    Args:
      counts: Samples by genes.
      name: A key of UNITS. For "log1p_cp10k_shared" it is the counts of the genes in
        `shared`: a panel of 300 genes and a whole transcriptome are then on one scale.
      shared: Genes that were measured in every sample; None is all.

    Raises:
      StudyError: An unknown name, or no gene is shared.
    """
    if name not in UNITS:
        raise StudyError(f"unknown normalisation {name!r}; {did_you_mean(name, UNITS)}")
    if not name.startswith("log1p_cp10k"):
        return None
    if name == "log1p_cp10k_shared" and shared is not None:
        if not shared.any():
            raise StudyError(
                "no gene was measured in all samples, so log1p_cp10k_shared has no "
                "total to divide by: use --normalise log1p"
            )
        counts = counts[:, np.flatnonzero(shared)]
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def normalised(
    counts: scipy.sparse.csr_matrix,
    name: str,
    shared: Bool[np.ndarray, "G"] | None = None,
) -> scipy.sparse.csr_matrix:
    """`X` from raw counts; arguments and errors are those of `totals`.

    A sample whose total is 0 has no value on a scale per 10,000; its row is 0.
    """
    total = totals(counts, name, shared)
    x = scipy.sparse.csr_matrix(counts, dtype=np.float32, copy=True)
    if total is not None:
        scale = np.divide(PER, total, out=np.zeros_like(total), where=total > 0)
        x = scipy.sparse.csr_matrix(
            scipy.sparse.diags(scale.astype(np.float32)) @ x, dtype=np.float32
        )
    if name != "none":
        x.data = np.log1p(x.data)
    return x
