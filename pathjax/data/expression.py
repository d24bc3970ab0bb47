"""The gene panel: which genes, in which order, on which scale; fitted on train only.

A panel is fitted once, on the training samples of a fine-tuning run, and travels with
its checkpoints. Genes are matched by name; another list is refused with what differs.
Library-size normalisation is not done here: a study's `X` is log-normalised already
(docs/study.md), because that needs no other sample.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from pathjax.data.study import StudyError

# What a study's `X` is unless it says otherwise (docs/study.md).
UNIT = "log1p(counts per 10,000)"


class GeneListError(ValueError):
    """Two gene lists that have to agree differ; the message says how."""


@dataclasses.dataclass(frozen=True)
class GenePanel:
    """Genes in order, with the mean and standard deviation of the training samples.

    Attributes:
      genes: names, as in `var_names`.
      mean, std: float32 `[G]`, of the log-normalised expression.
      samples: how many training samples it was fitted on.
      unit: of the expression before z-scoring.
      ids: further names of each gene, "symbol" or "ensembl", "" where unknown.
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

    def restore(self, scores: Float[np.ndarray, "n G"]) -> Float[np.ndarray, "n G"]:
        """Expression in `unit` from z-scores: the inverse of `normalise`."""
        return (scores * self.std + self.mean).astype(np.float32)

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
            # Panels of before these were kept were all of studies with that unit.
            unit=entry.get("unit", UNIT),
            ids={key: tuple(names) for key, names in entry.get("ids", {}).items()},
        )


def select(
    expression,
    sample_ids: Sequence[str],
    genes: Sequence[str],
    layer: str | None = None,
) -> Float[np.ndarray, "n G"]:
    """Values `[n, G]` float32 of the named samples and genes, in the order given.

    Args:
      expression: AnnData.
      sample_ids: obs names.
      genes: var names.
      layer: a layer such as "counts"; None is `X`.

    Raises:
      GeneListError: genes are asked for that the study does not have.
      StudyError: samples have no expression, the layer is missing, or a value of
        theirs is not finite.
    """
    lacking = [gene for gene in genes if gene not in expression.var_names]
    if lacking:
        raise GeneListError(
            f"the study lacks {len(lacking)} of {len(genes)} genes, first "
            f"{lacking[:5]}; it has {expression.n_vars}, such as "
            f"{list(expression.var_names[:3])}: use a study with these genes, or fit "
            "a new panel"
        )
    unpaired = [one for one in sample_ids if one not in expression.obs_names]
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
            "mend or drop them, pathjax fills nothing in"
        )
    return values


def most_variable(
    expression, sample_ids: Sequence[str], n_genes: int, layer: str | None = None
) -> tuple[str, ...]:
    """The `n_genes` genes of largest variance over the given samples, by rank.

    Variance is that of the log-normalised `X`, or of log1p of a layer of counts; ties
    keep the study's order. Genes that are constant over these samples are never chosen.

    Raises:
      StudyError: fewer genes vary than were asked for.
    """
    names = list(expression.var_names)
    values = select(expression, sample_ids, names, layer).astype(np.float64)
    variance = (values if layer is None else np.log1p(values)).var(axis=0)
    varying = int((variance > 0).sum())
    if n_genes > varying:
        raise StudyError(
            f"{n_genes} genes were asked for, but only {varying} of {len(names)} vary "
            f"over the {len(sample_ids)} training samples: set data.genes to at most "
            f"{varying}"
        )
    order = np.argsort(-variance, kind="stable")[:n_genes]
    return tuple(names[index] for index in order)


def fit_panel(
    expression, sample_ids: Sequence[str], genes: int | Sequence[str]
) -> GenePanel:
    """Fits a panel on training samples.

    Args:
      expression: AnnData of the whole study.
      sample_ids: the TRAINING samples; no other row is looked at.
      genes: how many of the most variable genes, or a list of names.
    """
    if isinstance(genes, int):
        genes = most_variable(expression, sample_ids, genes)
    twice = sorted({gene for gene in genes if list(genes).count(gene) > 1})
    if twice:
        raise GeneListError(
            f"the gene list has {len(twice)} names more than once, first {twice[:3]}"
        )
    values = select(expression, sample_ids, genes).astype(np.float64)
    std = values.std(axis=0)
    constant = [gene for gene, one in zip(genes, std, strict=True) if one == 0]
    if constant:
        raise GeneListError(
            f"{len(constant)} genes of the list are constant over the training "
            f"samples, first {constant[:5]}: they cannot be z-scored; drop them"
        )
    return GenePanel(
        genes=tuple(genes),
        mean=values.mean(axis=0).astype(np.float32),
        std=std.astype(np.float32),
        samples=len(sample_ids),
        unit=str(expression.uns.get("pathjax", {}).get("x", UNIT)),
        ids={
            key: tuple(expression.var.loc[list(genes), key].astype(str))
            for key in ("symbol", "ensembl")
            if key in expression.var
        },
    )


def require_same_genes(wanted: Sequence[str], found: Sequence[str], where: str) -> None:
    """Refuses a gene list that differs from a checkpoint's, and says how.

    Raises:
      GeneListError: names or their order differ.
    """
    if tuple(wanted) == tuple(found):
        return
    missing = [gene for gene in wanted if gene not in set(found)]
    extra = [gene for gene in found if gene not in set(wanted)]
    if not missing and not extra:
        first = next(
            i for i, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b
        )
        detail = (
            f"the order differs from place {first} on: {wanted[first]} wanted, "
            f"{found[first]} found"
        )
    else:
        detail = (
            f"{len(missing)} missing, first {missing[:5]}; {len(extra)} too many, "
            f"first {extra[:5]}"
        )
    raise GeneListError(
        f"{where} was trained on {len(wanted)} genes, this run has {len(found)}: "
        f"{detail}. Use the checkpoint's own list, or start a new run"
    )
