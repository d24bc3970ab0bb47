"""The gene panel of a model: genes, their order and scale, fitted on training samples.

Stored with the run's checkpoints; genes are matched by name. Library size is not
normalised here: a study's `X` already is (docs/study.md).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float

from pathjax.data.measured import LEAST_SAMPLES, measured
from pathjax.data.study import StudyError

# What a study's `X` is unless it says otherwise (docs/study.md).
UNIT = "log1p(counts per 10,000)"


@dataclasses.dataclass(frozen=True)
class GenePanel:
    """Genes in order, with the mean and standard deviation of the training samples.

    Attributes:
      genes: Names, as in `var_names`.
      mean, std: float32 `[G]`, of the log-normalised expression.
      samples: Number of training samples; a gene's statistics are over those of them
        in which it was measured.
      unit: Unit of the expression before z-scoring.
      ids: Other names of each gene, "symbol" or "ensembl"; "" where unknown.
    """

    genes: tuple[str, ...]
    mean: Float[np.ndarray, "G"]
    std: Float[np.ndarray, "G"]
    samples: int
    unit: str = UNIT
    ids: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def normalise(self, values: Float[np.ndarray, "n G"]) -> Float[np.ndarray, "n G"]:
        """z-scores `[n, G]` by the training statistics."""
        return ((values - self.mean) / self.std).astype(np.float32)

    def scores(
        self, expression, sample_ids: Sequence[str]
    ) -> tuple[Float[np.ndarray, "n G"], Bool[np.ndarray, "n G"] | None]:
        """z-scores of samples, 0 where a gene was not measured, and where it was.

        The second is None if all of the study's samples were measured for all genes of
        the panel. Raises as `select`.
        """
        values = select(expression, sample_ids, self.genes, unmeasured=0)
        known = measured(expression, sample_ids, self.genes)
        scores = self.normalise(values)
        return (scores if known is None else np.where(known, scores, 0)), known

    def restore(self, scores: Float[np.ndarray, "n G"]) -> Float[np.ndarray, "n G"]:
        """Expression in `unit` from z-scores: the inverse of `normalise`."""
        return (scores * self.std + self.mean).astype(np.float32)

    def places(self) -> dict[str, int]:
        """Place of each gene, by its name here and by its other names."""
        known: dict[str, int] = {}
        for names in (*self.ids.values(), self.genes):  # its own names take precedence
            known |= {name: place for place, name in enumerate(names) if name}
        return known

    def to_json(self) -> dict[str, Any]:
        return {
            "genes": list(self.genes),
            "mean": [float(value) for value in self.mean],
            "std": [float(value) for value in self.std],
            "samples": self.samples,
            "unit": self.unit,
            "ids": {key: list(names) for key, names in self.ids.items()},
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "GenePanel":
        return cls(
            genes=tuple(entry["genes"]),
            mean=np.asarray(entry["mean"], np.float32),
            std=np.asarray(entry["std"], np.float32),
            samples=entry["samples"],
            unit=entry["unit"],
            ids={key: tuple(names) for key, names in entry["ids"].items()},
        )


def select(
    expression,
    sample_ids: Sequence[str],
    genes: Sequence[str],
    layer: str | None = None,
    *,
    unmeasured: float | None = None,
) -> Float[np.ndarray, "n G"]:
    """Values `[n, G]` float32 of the named samples and genes, in the order given.

    Args:
      expression: AnnData.
      sample_ids: Names in obs.
      genes: Names in var.
      layer: A layer such as "counts"; None is `X`.
      unmeasured: In place of values that were not measured; None refuses them.

    Raises:
      StudyError: A gene, a sample or the layer is missing, a value was not measured or
        is not finite.
    """
    missing = [gene for gene in genes if gene not in expression.var_names]
    if missing:
        raise StudyError(
            f"the study lacks {len(missing)} of {len(genes)} genes, first "
            f"{missing[:5]}; it has {expression.n_vars}, such as "
            f"{list(expression.var_names[:3])}: use a study with these genes, or fit "
            "a new panel"
        )
    unpaired = [name for name in sample_ids if name not in expression.obs_names]
    if unpaired:
        raise StudyError(
            f"{len(unpaired)} of {len(sample_ids)} samples have no expression, first "
            f"{unpaired[:5]}: leave them out with data.drop_unpaired=True, or add "
            "their expression"
        )
    if layer is not None and layer not in expression.layers:
        raise StudyError(
            f"expression has no layer {layer!r}, it has {list(expression.layers)}: a "
            "loss on counts needs raw counts"
        )
    part = expression[list(sample_ids), list(genes)]
    values = part.X if layer is None else part.layers[layer]
    if scipy.sparse.issparse(values):
        values = values.toarray()
    values = np.asarray(values, np.float32)
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise StudyError(
            f"{int((~np.isfinite(values)).sum())} values of expression are not "
            f"finite, first sample {sample_ids[row]!r}, gene {genes[column]!r}: "
            "fix or drop them, pathjax does not impute"
        )
    known = measured(expression, sample_ids, genes)
    if known is not None and not known.all():
        if unmeasured is None:
            row, column = np.argwhere(~known)[0]
            raise StudyError(
                f"{int((~known.all(axis=0)).sum())} of {len(genes)} genes were not "
                f"measured in all samples, first {genes[column]!r} in "
                f"{sample_ids[row]!r}: choose genes that were, or build the study with "
                "--genes-join inner"
            )
        values[~known] = unmeasured
    return values


def _moments(
    values: Float[np.ndarray, "n G"], known: Bool[np.ndarray, "n G"] | None
) -> tuple[Float[np.ndarray, "G"], Float[np.ndarray, "G"]]:
    """Mean and variance of each gene over the samples in which it was measured.

    Both are 0 where it was measured in none. Values not measured have to be 0.
    """
    if known is None:
        return values.mean(axis=0), values.var(axis=0)
    count = np.maximum(known.sum(axis=0), 1)
    mean = values.sum(axis=0) / count
    return mean, (np.where(known, values - mean, 0) ** 2).sum(axis=0) / count


def most_variable(
    expression, sample_ids: Sequence[str], n_genes: int, layer: str | None = None
) -> tuple[str, ...]:
    """The `n_genes` genes of largest variance over the samples, by rank.

    Variance of the log-normalised `X`, or of log1p of a layer of counts, over the
    samples in which a gene was measured. Ties keep the study's order; constant genes
    and those measured in fewer than LEAST_SAMPLES are never chosen.

    Raises:
      StudyError: Fewer genes vary.
    """
    names = list(expression.var_names)
    values = select(expression, sample_ids, names, layer, unmeasured=0)
    values = values.astype(np.float64)
    known = measured(expression, sample_ids, names)
    _, variance = _moments(values if layer is None else np.log1p(values), known)
    if known is not None:
        variance[known.sum(axis=0) < min(LEAST_SAMPLES, len(values))] = 0
    varying = int((variance > 0).sum())
    if n_genes > varying:
        raise StudyError(
            f"expected {n_genes} genes that vary over the {len(sample_ids)} training "
            f"samples, but only {varying} of {len(names)} vary: set data.genes to at "
            f"most {varying}"
        )
    order = np.argsort(-variance, kind="stable")[:n_genes]
    return tuple(names[index] for index in order)


def fit_panel(
    expression, sample_ids: Sequence[str], genes: int | Sequence[str]
) -> GenePanel:
    """Fits a panel.

    Args:
      expression: AnnData of the whole study.
      sample_ids: The TRAINING samples; no other row is used.
      genes: Number of most variable genes, or a list of names.

    Raises:
      StudyError: A gene is missing, repeated or constant.
    """
    if isinstance(genes, int):
        genes = most_variable(expression, sample_ids, genes)
    twice = sorted({gene for gene in genes if list(genes).count(gene) > 1})
    if twice:
        raise StudyError(
            f"the gene list has {len(twice)} names more than once, first {twice[:3]}"
        )
    values = select(expression, sample_ids, genes, unmeasured=0).astype(np.float64)
    mean, variance = _moments(values, measured(expression, sample_ids, genes))
    std = np.sqrt(variance)
    constant = [gene for gene, value in zip(genes, std, strict=True) if value == 0]
    if constant:
        raise StudyError(
            f"{len(constant)} genes of the list are constant over the training "
            f"samples, or not measured in them, first {constant[:5]}: they cannot be z-scored; drop them"
        )
    return GenePanel(
        genes=tuple(genes),
        mean=mean.astype(np.float32),
        std=std.astype(np.float32),
        samples=len(sample_ids),
        unit=str(expression.uns.get("pathjax", {}).get("x", UNIT)),
        ids={
            key: tuple(expression.var.loc[list(genes), key].astype(str))
            for key in ("symbol", "ensembl")
            if key in expression.var
        },
    )


def require_same_genes(
    expected: Sequence[str], genes: Sequence[str], where: str
) -> None:
    """Refuses `genes` that differ from those of the checkpoint `where`.

    Raises:
      StudyError: Names or their order differ.
    """
    if tuple(expected) == tuple(genes):
        return
    missing = [gene for gene in expected if gene not in set(genes)]
    extra = [gene for gene in genes if gene not in set(expected)]
    if missing or extra:
        detail = (
            f"{len(missing)} missing, first {missing[:5]}; {len(extra)} too many, "
            f"first {extra[:5]}"
        )
    else:
        pairs = enumerate(zip(expected, genes, strict=True))
        place, (theirs, ours) = next(pair for pair in pairs if len(set(pair[1])) > 1)
        detail = (
            f"the order differs from place {place} on: expected {theirs}, got {ours}"
        )
    raise StudyError(
        f"{where} was trained on {len(expected)} genes, this run has {len(genes)}: "
        f"{detail}. Use the checkpoint's own list, or start a new run"
    )
