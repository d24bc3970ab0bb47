"""The bootstrap: draws of patients and seeds, and intervals from replicates.

    ids of tasks -> number_units -> bootstrap_draws -> Terms.evaluate -> an interval

NumPy only; what is evaluated under the draws is in metric.py.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

from pathjax.stats.metric import StatisticsError


def number_units(
    ids: Sequence[Shaped[np.ndarray, "_"]],
) -> tuple[list[Int[np.ndarray, "_"]], int]:
    """Numbers the union of several lists of ids: each list as numbers, and how many."""
    names, flat = np.unique(np.concatenate(ids), return_inverse=True)
    ends = np.cumsum([len(part) for part in ids])[:-1]
    return np.split(flat, ends), len(names)


def bootstrap_draws(
    units: int, replicates: int, seed: int | tuple[int, ...]
) -> Int[np.ndarray, "B U"]:
    """How often each unit counts in each replicate: multinomial, `units` draws each.

    Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 6 and 13.
    """
    if units < 1 or replicates < 1:
        raise StatisticsError(
            f"expected at least 1 unit and 1 replicate, got {units} and {replicates}"
        )
    rng = np.random.default_rng(seed)
    return rng.multinomial(units, np.full(units, 1 / units), size=replicates)


def mean_over_seeds(
    per_seed: Float[np.ndarray, "S B"], seed_draws: Num[np.ndarray, "B S"]
) -> Float[np.ndarray, "B"]:
    """Each replicate's mean over the seeds it drew, together with its patients."""
    return np.einsum("sb,bs->b", per_seed, seed_draws) / seed_draws.sum(axis=1)


def percentile_interval(
    samples: Float[np.ndarray, "B"], level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of bootstrap replicates; undefined (NaN) ones are left out.

    Raises:
      StatisticsError: Over half of the replicates are undefined.
    """
    known = samples[np.isfinite(samples)]
    if 2 * len(known) < len(samples):
        raise StatisticsError(
            f"{len(samples) - len(known)} of {len(samples)} bootstrap replicates have "
            "no score: too few test patients for an interval"
        )
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
