"""Scores of gene sets in place of genes: pathjax data gene-sets.

Writes a study of the same tiles whose expression has a column per gene set, so that
whatever takes a gene takes a set by its name: regression targets, tasks, `--genes`.

"mean_z" is the mean over a set's genes of their z-scores, with mean and standard
deviation of one fold. "ssgsea" is the enrichment score of Barbie et al. 2009 of each
sample by itself, as gseapy has it, without its normalisation by the range of all samples.
Where samples were measured for different genes, only those of all samples count.
"""

from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from jaxtyping import Float

from pathjax.data.correct import with_expression
from pathjax.data.expression import fit_panel, select
from pathjax.data.gene_sets import Matched, match, read_gmt
from pathjax.data.measured import shared_genes
from pathjax.data.study import Study, StudyError, sha256
from pathjax.optional_deps import need

METHODS = {"mean_z": "mean z-score of genes", "ssgsea": "ssGSEA enrichment score"}


def mean_z(
    z: Float[np.ndarray, "n G"], members: Sequence[Sequence[int]]
) -> Float[np.ndarray, "n S"]:
    """Mean of each set's columns."""
    return np.stack([z[:, list(genes)].mean(axis=1) for genes in members], axis=1)


def ssgsea(
    values: Float[np.ndarray, "n G"], members: Sequence[Sequence[int]]
) -> Float[np.ndarray, "n S"]:
    """Enrichment score of each set in each sample, by gseapy."""
    genes = [f"g{i}" for i in range(values.shape[1])]
    sets = {str(i): [genes[j] for j in one] for i, one in enumerate(members)}
    samples = [str(i) for i in range(len(values))]
    found = need("gseapy", "gene-sets").ssgsea(
        pd.DataFrame(values.T, genes, samples),
        sets,
        outdir=None,
        sample_norm_method="rank",
        min_size=1,
        max_size=len(genes),
        threads=1,
    )
    table = found.res2d.pivot(index="Name", columns="Term", values="ES")
    return table.loc[samples, list(sets)].to_numpy(np.float64)


def score_sets(
    study: Study,
    out: Path,
    gmt: Path,
    *,
    method: str,
    split: str,
    fit: str,
    min_genes: int = 5,
    name: str | None = None,
) -> tuple[Study, list[str]]:
    """Writes a study with scores of gene sets as expression, and says what it did.

    Args:
      study: With expression.
      out: Folder of the new study; must not exist.
      gmt: The gene sets.
      method: One of METHODS.
      split, fit: The fold whose mean and deviation z-scores are by.
      min_genes: Genes that a set must have in the study, and for "mean_z" that vary in
        the fold.
      name: Of the new study; None is the old one with the method.

    Raises:
      StudyError: An unknown method, no set with enough genes, or `out` exists.
      RuntimeError: gseapy is not installed.
    """
    if method not in METHODS:
        raise StudyError(f"--method: expected {' or '.join(METHODS)}, got {method!r}")
    if out.exists():
        raise StudyError(f"{out} exists: give --out a new folder")
    expression, sets = study.expression(), read_gmt(gmt)
    expression = expression[:, shared_genes(expression)].copy()
    ids, genes = list(expression.obs_names), list(expression.var_names)
    values = select(expression, ids, genes)
    inside = study.samples["sample_id"].iloc[study.fold_samples(split, fit)]
    fitted = [one for one in inside if one in expression.obs_names]
    if method == "mean_z":
        # Not the deviation, which is rounded: that of equal values may be above 0.
        varies = np.ptp(values[np.isin(ids, fitted)], axis=0) > 0
        genes = [gene for gene, kept in zip(genes, varies, strict=True) if kept]
    panel = fit_panel(expression, fitted, genes) if method == "mean_z" else None
    found = match(sets, _places(expression[:, genes]), min_genes)
    members = list(found.members.values())
    if panel is not None:
        scores = mean_z(panel.normalise(values[:, varies]), members)
    else:
        scores = ssgsea(values, members)
    table = anndata.AnnData(
        scores.astype(np.float32),
        pd.DataFrame(index=ids),
        pd.DataFrame(index=list(found.members)),
        uns={"pathjax": {"x": METHODS[method]}},
    )
    record = {
        "gene_sets": {"file": gmt.name, "sha256": sha256(gmt)},
        "method": method,
        "left_out": found.left_out,
    }
    notes = _notes(found, len(sets), len(genes), min_genes)
    if panel is not None:
        record["fit"] = {"split": split, "fold": fit, "samples": len(fitted)}
        notes.append(f"z-scores by {len(fitted)} samples of fold {fit} of {split}")
    else:
        notes.append(
            f"each sample is scored by itself: fold {fit} of {split} is not used"
        )
    return with_expression(study, out, table, name, "gene_set_scores", record), notes


def _places(expression) -> dict[str, int]:
    """Place of each gene, by its name and by other names in `var`."""
    known: dict[str, int] = {}
    columns = [expression.var[c] for c in ("symbol", "ensembl") if c in expression.var]
    for names in (*columns, expression.var_names):  # its own names take precedence
        known |= {str(name): place for place, name in enumerate(names) if name}
    return known


def _notes(found: Matched, sets: int, genes: int, least: int) -> list[str]:
    notes = [
        f"{len(found.members)} of {sets} gene sets; {found.unused} of {genes} genes are in none"
    ]
    if found.left_out:
        named = ", ".join(f"{name} ({n})" for name, n in found.left_out.items())
        notes.append(f"left out, with fewer than {least} genes: {named}")
    return notes
