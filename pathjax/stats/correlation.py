"""Pearson's and Spearman's correlation: of each gene over rows, then their mean.

Strata are rows that are only compared among themselves: the test folds of a
cross-validation, whose predictions have different offsets, or cancer types, whose levels
any model can tell. "within" is one r of all rows after each stratum's means are taken
off; "mean" is the mean of the strata's own r, weighted by how often their units count.
Metrics named per_slide take slides as strata, whatever the protocol has, and their mean;
those named pooled have none, so that differences of folds and slides count too.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Num

from pathjax.stats.metric import (
    COMBINE,
    Metric,
    StatisticsError,
    Terms,
    _numbers,
    nanmean,
    sum_terms,
)

# Below this share of its own scale a variance of some rows is rounding.
CONSTANT = 1e-12


def _prepared(truth, prediction, combine):
    """Values in float64 and which are asked for; checks them."""
    truth, prediction = np.asarray(truth, np.float64), np.asarray(prediction)
    prediction = prediction.astype(np.float64)
    if combine not in COMBINE:
        raise StatisticsError(f"expected combine to be one of {COMBINE}, got {combine}")
    asked = ~np.isnan(truth)
    if np.isinf(truth).any() or not np.isfinite(prediction[asked]).all():
        raise StatisticsError("truth or prediction holds values that are not finite")
    return truth, prediction, asked


@dataclasses.dataclass(frozen=True)
class Pearson(Metric):
    """Mean over genes of Pearson r. Its terms are sums of moments per unit.

    Each gene is first shifted and scaled by its own mean and spread, so that sums of
    squares do not cancel. A truth of NaN is a value that was not asked for: a gene that
    one fold chose and another did not.
    """

    def terms(self, truth, prediction, unit=None, stratum=None, combine="within"):
        given, (guess,) = self._rows(truth, prediction)
        truth, prediction, asked = _prepared(given, guess, combine)
        t = _unit_scale(truth, asked, _precision(given))
        p = _unit_scale(prediction, asked, _precision(guess))
        columns = [asked.astype(np.float64), t, p, t * t, p * p, t * p]
        numbers = _numbers(len(truth), unit, stratum)
        return sum_terms(self, np.hstack(columns), *numbers, combine)

    def evaluate(self, terms, draws):
        return nanmean(self.per_gene(terms, draws))

    def per_gene(
        self, terms: Terms, draws: Num[np.ndarray, "B U"]
    ) -> Float[np.ndarray, "B G"]:
        """r of each gene under each row of unit counts; NaN for a constant truth."""
        parts, shares = [], []
        for inside, share in terms.strata(draws):
            total = terms.weight(draws, inside) @ terms.parts[0][inside]
            parts.append(_moments(total))
            shares.append(share[:, None])
        return _combined(parts, shares, terms.combine)

    def value(self, truth, prediction, stratum=None, combine="within"):
        r = per_gene_pearson(truth, prediction, stratum, combine)
        if np.isnan(r).all():
            where = "" if stratum is None else " within every stratum"
            raise StatisticsError(
                f"all {len(r)} columns of the truth are constant over the {len(truth)} "
                f"test rows{where}: there is nothing to correlate"
            )
        return float(np.nanmean(r))


PEARSON = Pearson(
    "pearson", "mean Pearson r", "values", score=None, scale="correlation"
)


def per_gene_pearson(
    truth: Num[np.ndarray, "N G"],
    prediction: Num[np.ndarray, "N G"],
    stratum: Int[np.ndarray, "N"] | None = None,
    combine: str = "within",
) -> Float[np.ndarray, "G"]:
    """r of each gene over rows: NaN for a constant truth, 0 for a constant prediction."""
    terms = PEARSON.terms(truth, prediction, None, stratum, combine)
    return PEARSON.per_gene(terms, np.ones((1, 1)))[0]


def _combined(parts, shares, combine):
    """r of the strata's moments: of their sums, or the weighted mean of each one's."""
    if combine == "mean":
        r = np.stack([_pearson(part) for part in parts], axis=-1)
        return nanmean(r, np.stack(shares, axis=-1))
    return _pearson(sum(parts))


def _precision(values) -> float:
    floating = values.dtype if values.dtype.kind == "f" else np.float64
    return float(np.finfo(floating).eps)


def _unit_scale(values, asked, precision):
    """Mean 0 and variance 1 over the rows asked for; 0 elsewhere and for constants.

    Constant is what varies by less than its type can tell: 1e6 + U(0, 1) is not.
    """
    count = np.maximum(asked.sum(axis=0), 1)
    values = np.where(asked, values, 0.0)
    centred = np.where(asked, values - values.sum(axis=0) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    least, most = (np.where(asked, values, fill) for fill in (np.inf, -np.inf))
    varied = most.max(axis=0) - least.min(axis=0)
    constant = ~(varied > 4 * precision * np.abs(values).max(axis=0))
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, spread))


def _moments(total):
    """Squares of t and p, then sums about the means of t, p and tp: `[5, B, G]`.

    `total` has the sums of 1, t, p, tt, pp, tp.
    """
    n, t, p, tt, pp, tp = np.split(total, 6, axis=1)
    n = np.where(n > 0, n, 1.0)
    return np.stack([tt, pp, tt - t * t / n, pp - p * p / n, tp - t * p / n])


def _pearson(moments):
    """r `[B, G]`; NaN where the truth is constant or was not asked for.

    A prediction that is constant where the truth varies has r = 0: leaving such genes
    out would reward a model for giving up on them.
    """
    tt, pp, var_t, var_p, cov = moments
    varies_t, varies_p = (
        # Scaled to variance 1: a mean square this small is of constants throughout.
        var > CONSTANT * np.maximum(square, CONSTANT)
        for var, square in ((var_t, tt), (var_p, pp))
    )
    both = varies_t & varies_p
    r = cov / np.sqrt(np.where(both, var_t * var_p, 1.0))
    return np.where(varies_t, np.where(both, np.clip(r, -1, 1), 0.0), np.nan)


@dataclasses.dataclass(frozen=True)
class Spearman(Metric):
    """Mean over genes of Spearman's rank correlation, ranks taken in each replicate."""

    def terms(self, truth, prediction, unit=None, stratum=None, combine="within"):
        truth, (prediction,) = self._rows(truth, prediction)
        truth, prediction, asked = _prepared(truth, prediction, combine)
        prediction = np.where(asked, prediction, np.nan)
        numbers = _numbers(len(truth), unit, stratum)
        return Terms(self, (truth, prediction), *numbers, combine)

    def evaluate(self, terms, draws):
        genes = []
        for truth, guess in zip(*(part.T for part in terms.parts), strict=True):
            parts, shares = [], []
            for inside, share in terms.strata(draws):
                inside = inside & ~np.isnan(truth)
                if not inside.any():
                    continue
                weight = terms.weight(draws, inside)
                t, p = (_ranks(values[inside], weight) for values in (truth, guess))
                sums = [
                    (weight * part).sum(axis=1)[:, None]
                    for part in (np.ones_like(t), t, p, t * t, p * p, t * p)
                ]
                parts.append(_moments(np.hstack(sums)))
                shares.append(share[:, None])
            if parts:  # else a gene that no row was asked for
                genes.append(_combined(parts, shares, terms.combine)[:, 0])
        if not genes:
            return np.full(len(draws), np.nan)
        return nanmean(np.stack(genes, axis=-1))


def _ranks(values, weight):
    """Ranks `[B, n]` about 0 where row i counts `weight[:, i]` times; ties share one.

    As shares of the stratum's weight, so that strata of other sizes count alike.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    group = np.cumsum(np.append(False, ordered[1:] != ordered[:-1]))
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    upto = np.cumsum(weight[:, order], axis=1)[:, ends]
    middle = (upto + np.diff(upto, axis=1, prepend=0.0) * -0.5) / np.maximum(
        upto[:, -1:], 1.0
    )
    ranks = np.empty_like(weight)
    ranks[:, order] = middle[:, group] - 0.5
    return ranks


SPEARMAN = Spearman(
    "spearman", "mean Spearman rho", "values", score=None, scale="correlation"
)
OVER = {"per_slide": ("slide", "per slide"), "pooled": ("pooled", "pooled")}
CORRELATIONS = tuple(
    dataclasses.replace(
        one, name=f"{one.name}_{name}", label=f"{one.label}, {words}", over=over
    )
    for one in (PEARSON, SPEARMAN)
    for name, (over, words) in OVER.items()
)
