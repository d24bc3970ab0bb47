"""The permutation tests of one tuned model: each task, and the mean delta.

    task -> (tuned, base) terms per seed, parts -> p, Holm's p, p of the mean

Tasks of one part exchange the same patients in the same permutation, so that their null
deltas can be averaged one by one. Parts share no patients: their permutations are
independent. A permutation is explained in stats/permutation.py.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from pathjax.report.shared_units import Part
from pathjax.stats.metric import Terms
from pathjax.stats.permutation import (
    Swaps,
    holm,
    null_deltas,
    observed_delta,
    p_value,
    redrawn,
)


@dataclasses.dataclass(frozen=True)
class Tested:
    """A p, what Holm's correction makes of it, and over how many patterns it is.

    The mean delta is one test of its own: its `p_holm` is None.
    """

    p: float
    p_holm: float | None
    permutations: int


def permute_deltas(
    pairs: Mapping[str, Sequence[tuple[Terms, Terms]]],
    parts: Mapping[str, Part],
    *,
    permutations: int,
    seed: int,
    signs: Mapping[str, int] | None = None,
) -> tuple[dict[str, Tested], Tested | None]:
    """Tests each task's delta and the mean over these tasks.

    Args:
      pairs: task -> terms of tuned and base, for each fine-tuning seed.
      parts: task -> whose units it shares.
      permutations: random ones, where a part has more patterns than that.
      seed: of the random ones.
      signs: task -> -1 where a lower score is better, for the mean.

    Returns:
      The tests by task, corrected over all of them, and that of their mean; None when
      there is no task.
    """
    if not pairs:
        return {}, None
    signs = dict.fromkeys(pairs, 1) | dict(signs or {})
    observed, p = {}, {}
    sums: dict[Part, np.ndarray] = {}
    swaps = {
        part: Swaps(part.units, permutations, (seed, part.key))
        for part in dict.fromkeys(parts[task] for task in pairs)
    }
    for task, terms in pairs.items():
        part = parts[task]
        observed[task] = observed_delta(terms)
        null = null_deltas(terms, swaps[part])
        p[task] = p_value(observed[task], null, exact=swaps[part].exact)
        sums[part] = sums.get(part, 0.0) + signs[task] * null
    corrected = holm(list(p.values()))
    tests = {
        task: Tested(p[task], float(one), swaps[parts[task]].patterns)
        for task, one in zip(p, corrected, strict=True)
    }
    mean = float(np.mean([signs[task] * one for task, one in observed.items()]))
    if len(sums) == 1:
        ((part, total),) = sums.items()
        exact, patterns = swaps[part].exact, swaps[part].patterns
    else:
        exact, patterns = False, permutations
        total = sum(
            redrawn(null, permutations, (seed, part.key, 1))
            if swaps[part].exact
            else null
            for part, null in sums.items()
        )
    p_mean = p_value(mean, total / len(pairs), exact=exact)
    return tests, Tested(p_mean, None, patterns)
