"""Is a delta more than chance: paired permutation tests, and corrections for many.

    deltas without each unit -> contributions, swaps -> null deltas -> p -> Holm, q
                                standard error over seeds  ----^

If tuning changed nothing, it is chance whether a patient speaks for the tuned model or for
its base: what a patient adds to the delta may have either sign, with probability 1/2
(Fisher's randomisation for pairs; Edgington & Onghena 2007, Randomization Tests, ch. 6).
For accuracies and means over patients that is to exchange the patient's predictions. For
r, exchanging standardised predictions rejects too often where patients have several rows
(docs/statistics.md), so the contributions are taken. Tests are two-sided.

Swapping patients does not cover the variation of fine-tuning from seed to seed: each
null delta is then given an error of seeds as well (`p_with_seeds`). With one seed that
variation is unknown.

NumPy only. It reads no file and does not know models or tasks.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float, Int

from pathjax.stats.metric import StatisticsError

SWAPS_AT_ONCE = 512  # so that memory does not grow with the number of permutations
# Two scores closer than this are equal: sums in another order differ by about 1e-15.
TIE = 1e-12


@dataclasses.dataclass(frozen=True)
class Swaps:
    """Which units change places, in each permutation. Equal swaps have equal patterns.

    Where the units have no more than `permutations` patterns, each is had once and the
    test is exact. A pattern and its opposite have opposite deltas, so a two-sided test
    needs one of each pair: those that leave unit 0 alone.

    Attributes:
      units: how many units there are.
      permutations: how many random patterns, where not all can be had.
      seed: of the random patterns.

    Raises:
      StatisticsError: there is no unit or no permutation.
    """

    units: int
    permutations: int
    seed: tuple[int, ...] = (0,)

    def __post_init__(self):
        if self.units < 1 or self.permutations < 1:
            raise StatisticsError(
                "expected at least 1 unit and 1 permutation, got "
                f"{self.units} and {self.permutations}"
            )

    @property
    def exact(self) -> bool:
        """True where all patterns are gone through."""
        return self.units <= 62 and 2**self.units <= self.permutations

    @property
    def patterns(self) -> int:
        """Over how many patterns a p is: all of them, or the random ones."""
        return 2**self.units if self.exact else self.permutations

    def blocks(self) -> Iterator[Bool[np.ndarray, "B U"]]:
        """Patterns, some hundred at once; the first of an exact test swaps nothing."""
        rng = np.random.default_rng(self.seed)
        total = self.patterns // 2 if self.exact else self.permutations
        for start in range(0, total, SWAPS_AT_ONCE):
            count = min(SWAPS_AT_ONCE, total - start)
            if self.exact:
                numbers = np.arange(start, start + count)[:, None]
                yield (numbers << 1 >> np.arange(self.units) & 1).astype(bool)
            else:
                bits = rng.bytes(count * -(-self.units // 8))
                rows = np.frombuffer(bits, np.uint8).reshape(count, -1)
                yield np.unpackbits(rows, axis=1, count=self.units).astype(bool)


def contributions(
    scores: Float[np.ndarray, "1+U"], *, corrected: bool = True
) -> Float[np.ndarray, "U"]:
    """What each unit adds to a score or delta: the jackknife's pseudo-values.

    Their mean is the score without its bias from few units (Quenouille 1956; Tukey 1958;
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, ch. 11). Of a share of right
    rows, with as many rows for each unit, they are the units' own shares.

    Args:
      scores: With all units, then without each, see `interval.left_out`. A unit without
        which there is no score adds the mean.
      corrected: False leaves the bias in: their mean is the score. The estimate of it
        from neighbours is mostly noise (docs/robustness.md).

    Raises:
      StatisticsError: The score with all units is not defined.
    """
    value, without = scores[0], scores[1:]
    if not np.isfinite(value):
        raise StatisticsError("a score is not defined: there is no delta to test")
    known = np.isfinite(without)
    units = known.sum()
    adds = units * value - (units - 1) * np.where(known, without, value)
    adds = np.where(known, adds, adds[known].mean() if units else value)
    return adds if corrected else adds - adds.mean() + value


def null_deltas(
    adds: Float[np.ndarray, "K"], swaps: Swaps, own: Int[np.ndarray, "K"]
) -> Float[np.ndarray, "B"]:
    """The delta under each pattern: the mean with the sign of the marked units changed.

    Args:
      adds: `contributions` of the units that the task has.
      swaps: Patterns over all units. Half of all for an exact test, see there.
      own: Numbers of the task's units.
    """
    blocks = (swap[:, own].astype(np.float64) @ adds for swap in swaps.blocks())
    return (adds.sum() - 2 * np.concatenate(list(blocks))) / len(adds)


def p_value(observed: float, null: Float[np.ndarray, "B"], *, exact: bool) -> float:
    """Share of patterns whose delta is farther from 0 than the observed one, or as far.

    The observed pattern counts among them, so that p is never 0: (1 + more) / (1 +
    permutations) for random patterns (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585),
    hits / patterns where the patterns are all there are. Other patterns that tie with it
    count half, the mid-p: where few patients differ, ties are many, and counting them
    whole would reject far less often than 5 % (Fagerland, Lydersen & Laake 2013,
    doi:10.1186/1471-2288-13-91). No difference at all has p 1.
    """
    seen, far = abs(observed), np.abs(null)
    if seen <= TIE:
        return 1.0
    more, ties = int((far > seen + TIE).sum()), int((far >= seen - TIE).sum())
    ties -= more
    if exact:
        return (1 + more + (ties - 1) / 2) / len(null)
    return (1 + more + ties / 2) / (1 + len(null))


def p_with_seeds(
    observed: float,
    null: Float[np.ndarray, "B"],
    *,
    exact: bool,
    error: float,
    seeds: int,
    draws: int,
    seed: tuple[int, ...],
) -> float:
    """p where each null delta has an error of seeds too; no less than without it.

    Deltas of several seeds deviate from 0 by chance of patients, whose distribution is
    that of the swaps, and by chance of seeds, whose is Student's t times the standard
    error: p is that of the sum of the two (as in the Behrens-Fisher problem; Fisher
    1935, Ann. Eugenics 6).

    Args:
      observed, null, exact: As in `p_value`.
      error: Standard error over seeds, see `interval.seed_error`.
      seeds: How many.
      draws, seed: Random null deltas where `null` is that of an exact test.
    """
    p = p_value(observed, null, exact=exact)
    if error <= TIE:
        return p
    if exact:
        null = redrawn(null, draws, (*seed, 2))
    noise = np.random.default_rng((*seed, 3)).standard_t(seeds - 1, len(null))
    return max(p, p_value(observed, null + error * noise, exact=False))


def redrawn(
    null: Float[np.ndarray, "B"], draws: int, seed: tuple[int, ...]
) -> Float[np.ndarray, "D"]:
    """Random patterns' deltas out of an exact test's, with either sign.

    So that tasks on other patients, which have other patterns, can be averaged.
    """
    rng = np.random.default_rng(seed)
    return rng.choice(null, draws) * rng.choice([-1.0, 1.0], draws)


def holm(p: Sequence[float]) -> Float[np.ndarray, "K"]:
    """Holm's step-down correction, in the order given.

    The smallest of k values is multiplied by k, the next by k - 1, and so on; no
    corrected value is below one before it, or above 1 (Holm 1979, Scand. J. Statist. 6).
    Controls the chance of any false finding among the k, however they depend.
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    out = np.empty_like(values)
    out[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return out


def q_values(p: Sequence[float]) -> Float[np.ndarray, "K"]:
    """Benjamini and Hochberg's correction, in the order given.

    The i-th smallest of k values is multiplied by k / i; none is above one after it. Of
    those below 5 %, at most 5 % are false on average, if tests are independent or depend
    positively (Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x;
    Benjamini & Yekutieli 2001, doi:10.1214/aos/1013699998).
    """
    return scipy.stats.false_discovery_control(np.asarray(p, np.float64))
