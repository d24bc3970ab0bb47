"""How much of expression's variance is site, patient and slide.

Nested one-way sums of squares over genes. With n_k samples in group k of a factor,
x_gi gene g in sample i, and means over the samples in which a gene was measured,

    total   = sum_g sum_i (x_gi - mean_g)^2
    between = sum_g sum_k n_gk (mean_gk - mean_g)^2,     share = between / total

Shares are cumulative: slides of a patient differ by all that patients differ by. By
chance alone a factor of K groups among n samples has a share of (K - 1) / (n - 1).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.data.measured import MEASURED, PANEL, is_partial
from pathjax.data.study import Study

FACTORS = ("site", "patient", "slide")  # from the widest


@dataclasses.dataclass(frozen=True)
class Share:
    """Of a factor: its groups, its share of the variance, and that of chance."""

    factor: str
    groups: int
    share: float
    chance: float


def groups_of(study: Study, sample_ids) -> pd.DataFrame:
    """`site`, `patient` and `slide` of samples; of several slides the first."""
    samples = study.samples.set_index("sample_id")
    first = study.runs.drop_duplicates("sample_id").set_index("sample_id")["slide_id"]
    return pd.DataFrame(
        {
            "site": samples["site"].reindex(sample_ids).astype(str),
            "patient": samples["patient_id"].reindex(sample_ids).astype(str),
            "slide": first.reindex(sample_ids).astype(str),
        }
    )


def shares(expression, groups: pd.DataFrame) -> list[Share]:
    """The shares of the columns of `groups` that divide the samples.

    Args:
      expression: AnnData; `X` as it is stored.
      groups: A row per row of it. Columns with one group, or as many as rows, are left
        out: the first explains nothing, the second everything.
    """
    x = scipy.sparse.csr_matrix(expression.X, dtype=np.float64)
    known = _known(expression)
    everyone = np.zeros(len(groups), np.int64)
    base, square = _between(x, everyone, known), float(x.multiply(x).sum())
    total = square - base
    found = []
    for factor in groups:
        codes, names = pd.factorize(groups[factor])
        if 1 < len(names) < len(codes) and total > 0:
            between = _between(x, codes, known) - base
            chance = (len(names) - 1) / (len(codes) - 1)
            found.append(Share(factor, len(names), between / total, chance))
    return found


def _known(expression):
    """Panel of each row and a table panels x genes; None if all were measured."""
    if not is_partial(expression):
        return None
    table = expression.varm[MEASURED]
    return table.columns.get_indexer(expression.obs[PANEL]), table.to_numpy(float).T


def _between(x: scipy.sparse.csr_matrix, codes: np.ndarray, known) -> float:
    """Sum over genes and groups of n_gk mean_gk^2."""
    rows = np.arange(len(codes))
    member = scipy.sparse.csr_matrix((np.ones(len(codes)), (codes, rows)))
    sums = (member @ x).toarray()
    if known is None:
        counts = np.asarray(member.sum(axis=1))
    else:
        panel, measured = known
        of = scipy.sparse.csr_matrix(
            (np.ones(len(codes)), (rows, panel)), (len(codes), len(measured))
        )
        counts = (member @ of).toarray() @ measured
    return float((sums**2 / np.maximum(counts, 1)).sum())


def describe_variance(study: Study, expression) -> Iterator[str]:
    """A line for each factor, for `pathjax data show`."""
    for one in shares(
        expression, groups_of(study, expression.obs_names)[list(FACTORS)]
    ):
        yield (
            f"  {one.share:.1%} of its variance is between {one.groups} {one.factor}s "
            f"({one.chance:.1%} by chance)"
        )
