"""Scores of survival predictions: concordance, Brier score, AUC over time; and curves.

    truth [n, 2]: months of follow-up, and 1 for an event or 0 for censored
    prediction [n, 1 + K]: the risk (higher is sooner), then S(t) at GRID
    -> C_INDEX, C_INDEX_UNO, BRIER, AUC_TIME under any weighting of the patients

Rows of different strata (test folds, cancer types) are never a pair: fits of different
folds have different offsets. Censoring is weighed by the inverse of its own
Kaplan-Meier curve over all rows that are scored. NumPy and float64; it fits nothing.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import scipy.special
from jaxtyping import Bool, Float, Int, Num

from pathjax.stats.metric import Metric, nanmean

HORIZON = 60.0  # months: scores over time are of the first five years
GRID = np.arange(3.0, HORIZON + 1, 3.0)
TIE = 1e-8  # risks closer than this are equal


def kaplan_meier(
    time: Float[np.ndarray, "n"],
    event: Bool[np.ndarray, "n"],
    weight: Num[np.ndarray, "B n"],
    *,
    censoring: bool = False,
) -> tuple[Float[np.ndarray, "U"], Float[np.ndarray, "B U"]]:
    """Survival just after each distinct time, under each weighting.

    Kaplan & Meier 1958, doi:10.1080/01621459.1958.10501452. `censoring` gives the curve of
    being censored; at a tie events come first, so they are not at risk of it.
    """
    times, place = np.unique(time, return_inverse=True)

    def summed(rows):
        sums = np.zeros((len(weight), len(times)))
        np.add.at(sums.T, place[rows], weight[:, rows].T)
        return sums

    events, all_rows = summed(event), summed(np.ones(len(time), bool))
    at_risk = np.cumsum(all_rows[:, ::-1], axis=1)[:, ::-1]
    if censoring:
        at_risk, events = at_risk - events, all_rows - events
    stay = 1 - np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    return times, np.cumprod(stay, axis=1)


def curve_at(
    times: Float[np.ndarray, "U"],
    curve: Float[np.ndarray, "B U"],
    at: Float[np.ndarray, "K"],
) -> Float[np.ndarray, "B K"]:
    """A curve's values at some times; 1 before its first."""
    whole = np.concatenate([np.ones((len(curve), 1)), curve], axis=1)
    return whole[:, np.searchsorted(times, at, side="right")]


def log_rank(
    time: Float[np.ndarray, "n"],
    event: Bool[np.ndarray, "n"],
    group: Bool[np.ndarray, "n"],
    stratum: Int[np.ndarray, "n"] | None = None,
) -> float:
    """p of the log-rank test of two groups, stratified (Mantel 1966).

    NaN where a group has no row or there is no event.
    """
    stratum = np.zeros(len(time), int) if stratum is None else stratum
    excess = variance = 0.0
    for one in np.unique(stratum):
        inside = stratum == one
        t, e, g = time[inside], event[inside], group[inside]
        for when in np.unique(t[e]):
            at_risk, dies = t >= when, (t == when) & e
            n, d, own = at_risk.sum(), dies.sum(), (at_risk & g).sum()
            excess += (dies & g).sum() - d * own / n
            if n > 1:
                variance += d * (own / n) * (1 - own / n) * (n - d) / (n - 1)
    if variance <= 0:
        return float("nan")
    return float(scipy.special.chdtrc(1, excess**2 / variance))


def high_risk(
    risk: Float[np.ndarray, "n"], stratum: Int[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    """The half of each stratum whose risk is above its median."""
    high = np.zeros(len(risk), bool)
    for one in np.unique(stratum):
        inside = stratum == one
        high[inside] = risk[inside] > np.median(risk[inside])
    return high


def _censored_by(time, event, weight, at) -> Float[np.ndarray, "B K"]:
    """1 / G at some times, 0 where nobody is left to be censored."""
    left = curve_at(*kaplan_meier(time, event, weight, censoring=True), at)
    return np.divide(1.0, left, out=np.zeros_like(left), where=left > 0)


def _strata(stratum, rows: int) -> Iterator[np.ndarray]:
    if stratum is None:
        yield np.arange(rows)
    else:
        for one in np.unique(stratum):
            yield np.flatnonzero(stratum == one)


def _ratio(top, bottom):
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def concordance(truth, prediction, weight, stratum=None, *, uno: bool = False):
    """Share of comparable pairs in which the one who dies first has the higher risk.

    A pair is comparable if the earlier time is an event; equal risks count half. Harrell
    et al. 1982, doi:10.1001/jama.1982.03320430047030. `uno`: events before HORIZON,
    weighed by 1 / G^2 (Uno et al. 2011, doi:10.1002/sim.4154).
    """
    time, event = truth[:, 0].astype(np.float64), truth[:, 1] > 0
    risk = prediction[:, 0].astype(np.float64)
    of_event = np.ones(weight.shape)
    counted = event
    if uno:
        of_event = _censored_by(time, event, weight, time) ** 2
        counted = event & (time < HORIZON)
    top, bottom = np.zeros(len(weight)), np.zeros(len(weight))
    for rows in _strata(stratum, len(time)):
        first = rows[counted[rows]]
        later = time[rows] > time[first, None]
        later |= (time[rows] == time[first, None]) & ~event[rows]
        away = risk[first, None] - risk[rows]
        right = later * np.where(np.abs(away) <= TIE, 0.5, away > 0)
        w = weight[:, first] * of_event[:, first]
        top += (w * (weight[:, rows] @ right.T)).sum(axis=1)
        bottom += (w * (weight[:, rows] @ later.T.astype(np.float64))).sum(axis=1)
    return _ratio(top, bottom)


def _followed(time) -> Float[np.ndarray, "K"]:
    """Places in GRID that the follow-up covers."""
    return np.flatnonzero((time.min() <= GRID) & (time.max() > GRID))


def auc_over_time(truth, prediction, weight, stratum=None):
    """Cumulative/dynamic AUC at GRID, averaged with the weights of the events' curve.

    At each t, the share of pairs of a patient with an event by t (weighed by 1 / G) and one
    still followed in which the former has the higher risk (Uno et al. 2007,
    doi:10.1198/016214507000000149; Hung & Chiang 2010; averaged as in Lambert & Chevret
    2016, doi:10.1177/0962280213515571).
    """
    time, event = truth[:, 0].astype(np.float64), truth[:, 1] > 0
    risk = prediction[:, 0].astype(np.float64)
    grid = GRID[_followed(time)]
    if not len(grid):
        return np.full(len(weight), np.nan)
    of_case = weight * _censored_by(time, event, weight, time)
    alive = curve_at(*kaplan_meier(time, event, weight), grid)
    falls = -np.diff(np.concatenate([np.ones((len(alive), 1)), alive], axis=1))
    areas = []
    for t in grid:
        right, pairs = np.zeros(len(weight)), np.zeros(len(weight))
        case, control = event & (time <= t), time > t
        for rows in _strata(stratum, len(time)):
            order = rows[np.argsort(risk[rows], kind="stable")]
            ends = np.flatnonzero(np.append(np.diff(risk[order]) > TIE, True))
            cases, controls = (
                np.diff(np.cumsum(w[:, order] * which[order], axis=1)[:, ends],
                        axis=1, prepend=0.0)
                for w, which in ((of_case, case), (weight, control))
            )  # fmt: skip
            below = np.cumsum(controls, axis=1) - controls / 2
            right += (cases * below).sum(axis=1)
            pairs += cases.sum(axis=1) * controls.sum(axis=1)
        areas.append(_ratio(right, pairs))
    return nanmean(np.stack(areas, axis=1), falls)


def integrated_brier(truth, prediction, weight):
    """Mean over GRID, by the trapezoidal rule, of the Brier score of S(t).

    Graf et al. 1999: the squared error of S(t), events by t weighed by 1 / G at their
    time, those still followed by 1 / G(t), the censored not at all.
    """
    time, event = truth[:, 0].astype(np.float64), truth[:, 1] > 0
    place = _followed(time)
    if len(place) < 2:
        return np.full(len(weight), np.nan)
    of_event = _censored_by(time, event, weight, time)
    of_time = _censored_by(time, event, weight, GRID)
    scores = []
    for one in place:
        alive, t = prediction[:, 1 + one].astype(np.float64), GRID[one]
        died = alive**2 * (event & (time <= t)) * of_event
        lives = (1 - alive) ** 2 * (time > t) * of_time[:, one, None]
        scores.append(((died + lives) * weight).sum(axis=1) / weight.sum(axis=1))
    grid = GRID[place]
    return np.trapezoid(np.stack(scores, axis=1), grid) / (grid[-1] - grid[0])


def _brier_chance(truth) -> float:
    """Of the same curve for all: the Kaplan-Meier estimate over these rows."""
    one = np.ones((1, len(truth)))
    time = truth[:, 0].astype(np.float64)
    alive = curve_at(*kaplan_meier(time, truth[:, 1] > 0, one), GRID)
    same = np.repeat(np.concatenate([np.zeros((1, 1)), alive], axis=1), len(truth), 0)
    return float(integrated_brier(truth, same, one)[0])


@dataclasses.dataclass(frozen=True)
class PairMetric(Metric):
    """A metric of pairs: its score takes the rows' strata too, and pairs none of two."""

    def evaluate(self, terms, draws):
        if terms.combine == "mean":
            return super().evaluate(terms, draws)
        assert self.score is not None
        truth, *runs = terms.parts
        weight = terms.weight(draws)
        each = [self.score(truth, run, weight, terms.stratum) for run in runs]
        return np.mean(each, axis=0)


def _uno(truth, prediction, weight, stratum=None):
    return concordance(truth, prediction, weight, stratum, uno=True)


C_INDEX = PairMetric(
    *("c_index", "C-index", "survival", concordance),
    chance=0.5,
    vectorised=True,
    scale="share",
)
C_INDEX_UNO = PairMetric(
    *("c_index_uno", "Uno's C-index, 5 years", "survival", _uno),
    chance=0.5,
    vectorised=True,
    scale="share",
)
AUC_TIME = PairMetric(
    *("auc_time", "AUC over 5 years", "survival", auc_over_time),
    chance=0.5,
    vectorised=True,
    scale="share",
)
BRIER = Metric(
    *("brier_integrated", "integrated Brier score", "survival", integrated_brier),
    chance=_brier_chance,
    higher_is_better=False,
    vectorised=True,
)
SURVIVAL_METRICS = (C_INDEX, C_INDEX_UNO, BRIER, AUC_TIME)
