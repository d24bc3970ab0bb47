"""Removes batch effects from a study's expression: pathjax data correct.

Fitted on the samples of one fold, and no other row: the parameters are those of an
affine map per batch and gene, x' = scale x + shift, which is then applied to all samples
of the batch. "center" moves each batch's mean to the mean of the fit samples. "combat"
is ComBat (Johnson et al. 2007, doi:10.1093/biostatistics/kxj037) as scanpy has it: its
correction of the fit samples is such a map, which is read off from what went in and out.

A batch without fit samples has no parameters: it is refused, kept as it is, or centred
by its own mean, which uses no other sample. The result is a new study; tiles and tables
are shared by hard links.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Bool, Float

import pathjax
from pathjax.data.measured import is_partial, measured
from pathjax.data.study import Study, StudyError, sha256
from pathjax.data.variance import groups_of, shares
from pathjax.files import atomic_path, command_line, link, write_json
from pathjax.optional_deps import need

METHODS = ("combat", "center")
UNSEEN = ("refuse", "keep", "center")
BATCHES = {"sample": "slide", "slide": "slide", "patient": "patient", "site": "site"}
LEAST = 2  # samples of a batch that a mean, and ComBat's variance, are taken of


@dataclasses.dataclass(frozen=True)
class Correction:
    """x' = scale x + shift, per batch and gene.

    Attributes:
      batches: Names, those that were fitted.
      scale, shift: `[batches, genes]`.
      mean: `[genes]`, of all fit samples.
    """

    batches: tuple[str, ...]
    scale: Float[np.ndarray, "K G"]
    shift: Float[np.ndarray, "K G"]
    mean: Float[np.ndarray, "G"]

    def apply(
        self,
        values: Float[np.ndarray, "n G"],
        batch: Sequence[str],
        known: Bool[np.ndarray, "n G"] | None = None,
    ) -> Float[np.ndarray, "n G"]:
        """Corrected values; rows of other batches, and values not measured, as they are."""
        place = pd.Index(self.batches).get_indexer(batch)
        out = values * self.scale[place] + self.shift[place]
        changed = (
            (place >= 0)[:, None] if known is None else (place >= 0)[:, None] & known
        )
        return np.where(changed, out, values)


def fit_center(
    values: Float[np.ndarray, "n G"],
    batch: Sequence[str],
    known: Bool[np.ndarray, "n G"] | None = None,
) -> Correction:
    """Moves each batch's mean of each gene to the mean over all rows."""
    known = np.ones(values.shape, bool) if known is None else known
    codes, names = pd.factorize(pd.Series(batch), sort=True)
    values = np.where(known, values, 0)
    mean = values.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    shift = np.zeros((len(names), values.shape[1]))
    for one in range(len(names)):
        rows = codes == one
        count = known[rows].sum(axis=0)
        own = values[rows].sum(axis=0) / np.maximum(count, 1)
        shift[one] = np.where(count > 0, mean - own, 0)
    return Correction(tuple(names), np.ones_like(shift), shift, mean)


def fit_combat(values: Float[np.ndarray, "n G"], batch: Sequence[str]) -> Correction:
    """ComBat's map of each batch, from scanpy's correction of these rows.

    Raises:
      StudyError: There is one batch, or scanpy's correction is no such map.
    """
    scanpy = need("scanpy", "spatial")
    codes, names = pd.factorize(pd.Series(batch), sort=True)
    if len(names) < 2:
        raise StudyError(f"ComBat compares batches, and there is one ({names[0]})")
    obs = pd.DataFrame({"batch": pd.Categorical(batch)})
    table = anndata.AnnData(
        values.astype(np.float64), obs=obs.set_axis(obs.index.astype(str))
    )
    varies = np.ptp(values, axis=0) > 0  # as in set_scores.py
    after = values.astype(np.float64)
    # Of a gene without counts in a batch the first step is relative to a variance of 0.
    with np.errstate(divide="ignore"):
        after[:, varies] = scanpy.pp.combat(
            table[:, varies].copy(), "batch", inplace=False
        )
    scale = np.ones((len(names), values.shape[1]))
    shift = np.zeros_like(scale)
    for one in range(len(names)):
        before, corrected = values[codes == one].astype(np.float64), after[codes == one]
        centre = before - before.mean(axis=0)
        spread = (centre**2).sum(axis=0)
        slope = (centre * corrected).sum(axis=0) / np.where(spread > 0, spread, 1)
        # A gene that is constant in the batch has a shift alone.
        scale[one] = np.where(spread > 0, slope, 1)
        shift[one] = corrected.mean(axis=0) - scale[one] * before.mean(axis=0)
    made = Correction(tuple(names), scale, shift, values.mean(axis=0))
    worst = np.abs(made.apply(values, batch) - after).max()
    if not worst <= 1e-4 * max(1.0, np.abs(after).max()):
        raise StudyError(
            f"scanpy's ComBat is not one scale and shift per batch and gene (off by "
            f"{worst:.3g}), so it cannot be applied to other samples: use --method center"
        )
    return made


def correct(
    study: Study,
    out: Path,
    *,
    method: str,
    batch: str,
    split: str,
    fit: str,
    unseen: str = "refuse",
    name: str | None = None,
) -> tuple[Study, list[str]]:
    """Writes a study with corrected `X`, and says what it did.

    Args:
      study: With expression.
      out: Folder of the new study; must not exist.
      method: One of METHODS.
      batch: What batches are: a key of BATCHES. A "sample" of tissue is a slide.
      split, fit: The fold whose samples are fitted on.
      unseen: For batches without fit samples: one of UNSEEN.
      name: Of the new study; None is the old one with the method.

    Raises:
      StudyError: Unknown options, batches that cannot be corrected, `out` exists, or
        samples were measured for different genes (ComBat).
    """
    for option, value, allowed in (
        ("--method", method, METHODS),
        ("--batch", batch, tuple(BATCHES)),
        ("--unseen", unseen, UNSEEN),
    ):
        if value not in allowed:
            raise StudyError(f"{option}: expected {', '.join(allowed)}, got {value!r}")
    if out.exists():
        raise StudyError(f"{out} exists: give --out a new folder")
    expression = study.expression()
    if method == "combat" and is_partial(expression):
        raise StudyError(
            "ComBat needs every gene in every sample, and some were not measured: use "
            "--method center, or build the study with --genes-join inner"
        )
    ids = list(expression.obs_names)
    groups = groups_of(study, ids)
    batches = groups[BATCHES[batch]].to_numpy(object)
    inside = study.samples["sample_id"].iloc[study.fold_samples(split, fit)]
    fitted = np.isin(ids, inside)
    plan = _plan(batches, fitted, batch, f"fold {fit} of {split}", unseen)
    values = expression.X
    values = values.toarray() if scipy.sparse.issparse(values) else np.asarray(values)
    known = measured(expression, ids, list(expression.var_names))
    rows = fitted & np.isin(batches, plan.fitted)
    mine = None if known is None else known[rows]
    if method == "combat":
        made = fit_combat(values[rows], batches[rows])
    else:
        made = fit_center(values[rows], batches[rows], mine)
    corrected = made.apply(values, batches, known)
    if unseen == "center":
        corrected = _centred(corrected, made.mean, batches, plan.unseen, known)
    before = shares(expression, groups[[BATCHES[batch]]])
    expression.X = np.asarray(corrected, np.float32)
    after = shares(expression, groups[[BATCHES[batch]]])
    about = dict(expression.uns.get("pathjax", {}))
    unit = str(about.get("x", "not stated"))
    about["x"] = f"{unit}, corrected for {batch} ({method})"
    expression.uns["pathjax"] = about
    record = {
        "method": method,
        "batch": batch,
        "fit": {"split": split, "fold": fit, "samples": int(rows.sum())},
        "batches": list(made.batches),
        "unseen": {"batches": list(plan.unseen), "done": unseen},
    }
    fitted_on = f"{rows.sum()} samples of fold {fit} of {split}"
    notes = [f"{method} by {batch}: {len(made.batches)} batches, fitted on {fitted_on}"]
    notes += [
        f"variance between {one.groups} {one.factor}s: {one.share:.1%} before, "
        f"{two.share:.1%} after"
        for one, two in zip(before, after, strict=True)
    ]
    if plan.unseen:
        done = {"keep": "as they were", "center": "centred by their own mean"}[unseen]
        notes.append(f"{len(plan.unseen)} batches without fit samples are {done}")
    return with_expression(study, out, expression, name, "corrected", record), notes


@dataclasses.dataclass(frozen=True)
class _Plan:
    fitted: tuple[str, ...]
    unseen: tuple[str, ...]


def _plan(batches, fitted, batch: str, where: str, unseen: str) -> _Plan:
    """Which batches have enough fit samples to be corrected."""
    counts = pd.Series(fitted).groupby(batches).sum()
    enough = tuple(counts.index[counts >= LEAST])
    others = tuple(counts.index[counts < LEAST])
    if not enough:
        raise StudyError(
            f"no {batch} has {LEAST} samples in {where}: there is nothing to fit"
        )
    if others and unseen == "refuse":
        raise StudyError(
            f"{len(others)} of {len(counts)} {batch}s have no samples in {where} to be "
            f"corrected by, first {list(others[:3])}: leave them as they are with "
            "--unseen keep, or centre each by its own mean with --unseen center"
        )
    return _Plan(enough, others)


def _centred(values, mean, batches, names, known):
    """Each named batch moved to `mean` by its own mean."""
    values = values.copy()
    for name in names:
        rows = np.flatnonzero(batches == name)
        own = np.ones((len(rows), len(mean)), bool) if known is None else known[rows]
        part = np.where(own, values[rows], 0)
        shift = mean - part.sum(axis=0) / np.maximum(own.sum(axis=0), 1)
        values[rows] = np.where(own, part + shift, values[rows])
    return values


def with_expression(
    study: Study, out: Path, expression, name: str | None, key: str, record: dict
) -> Study:
    """A study of the same tiles and tables with other expression, made by `record`.

    Files are hard links where the file system has them, else copies. study.json, whose
    provenance has the record under `key`, is written last.
    """
    files = dict(study.meta["files"])
    for file in files:
        if file == "expression.h5ad":
            continue
        link((study.root / file).resolve(), out / file)
    path = out / "expression.h5ad"
    with atomic_path(path) as partial:
        expression.write_h5ad(partial, compression="gzip")
    files["expression.h5ad"] = {"sha256": sha256(path), "bytes": path.stat().st_size}
    of = {"name": study.name, "fingerprint": study.fingerprint}
    made = {"pathjax": pathjax.__version__, "command": command_line()}
    meta = study.meta | {
        "name": name or f"{study.name}-{record['method']}",
        "files": files,
        "provenance": study.meta["provenance"] | {key: {"of": of, **record, **made}},
    }
    write_json(out / "study.json", meta)
    return Study(out)
