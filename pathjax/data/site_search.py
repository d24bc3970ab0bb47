"""Searches for the assignment of sites to folds with the least deviation.

    counts [sites, classes], shares [folds] -> greedy -> improve, restarted -> optimum
                                            -> fold of each site

Local search by moves and swaps, and where the problem is small, branch and bound by
HiGHS, which is asked for something better than the search found. Deterministic on one
version of SciPy: all ends by counts, nothing by the clock. Sites, patients and labels
are numbers here; `site_folds.py` has their names.
"""

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int
from scipy.optimize import Bounds, LinearConstraint, milp

from pathjax.data.folds import deviation

# Of the local search: more where sites are few and it takes no time.
RESTARTS, MOST_RESTARTS, RESTARTED_SITES = 8, 200, 8000
# Sites times folds above which branch and bound did not end on cohorts of TCGA, or did
# not find what search does (68 sites, 5 folds, 5 classes: 10 s, and worse than search).
MILP_CHOICES = 240
MILP_NODES = 1000
SAME = 1e-9  # two deviations closer than this are equal


def assign_sites(
    counts: Int[np.ndarray, "S C"], share: Float[np.ndarray, "F"], seed: int
) -> Int[np.ndarray, "S"]:
    """The number of each site's fold; no fold is empty.

    Args:
      counts: patients by site and class, the first class all; none is without any.
      share: of each fold; they sum up to 1.
      seed: of the search.
    """
    rng = np.random.default_rng(seed)
    best = improve(counts, share, greedy(counts, share, rng), rng)
    more = min(RESTARTED_SITES // len(counts), MOST_RESTARTS)
    for _ in range(max(RESTARTS, more)):
        moved = best.copy()
        some = rng.choice(len(best), max(2, len(best) // 20), replace=False)
        moved[some] = rng.permutation(moved[some])
        other = improve(counts, share, moved, rng)
        if cost(counts, share, other) < cost(counts, share, best) - SAME:
            best = other
    if counts.shape[0] * len(share) <= MILP_CHOICES:
        found = optimum(counts, share, cost(counts, share, best))
        best = best if found is None else found
    return best


def cost(counts, share, place: Int[np.ndarray, "S"]) -> float:
    """The deviation of an assignment."""
    inside = np.eye(len(share), dtype=np.int64)[place]
    return deviation(counts.T @ inside, _targets(counts, share).T)


def _targets(counts, share) -> Float[np.ndarray, "F C"]:
    return np.outer(share, counts.sum(axis=0))


def greedy(counts, share, rng: np.random.Generator) -> Int[np.ndarray, "S"]:
    """The largest sites first, each where it makes the squares of deviations least.

    Squares, as absolute deviations do not tell a fold that lacks much from one that
    lacks little. Sites of one size are in random order.
    """
    total = counts.sum(axis=0)
    # As shares of class and fold: a fold half as large is as full with half as many.
    parts = counts / np.maximum(total, 1)
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order, 0], kind="stable")]
    filled = np.zeros((len(share), counts.shape[1]))
    place = np.empty(len(counts), np.int64)
    for done, one in enumerate(order):
        after = (filled + parts[one] - share[:, None]) ** 2
        gain = ((after - (filled - share[:, None]) ** 2) / share[:, None]).sum(axis=1)
        empty = ~filled.any(axis=1)
        if empty.sum() == len(order) - done:  # the last sites fill the last folds
            gain[~empty] = np.inf
        place[one] = np.argmin(gain)
        filled[place[one]] += parts[one]
    return place


def improve(
    counts, share, place: Int[np.ndarray, "S"], rng: np.random.Generator
) -> Int[np.ndarray, "S"]:
    """Moves a site, or swaps two, as long as the deviation falls.

    Sites are gone through in random order; each makes its best move or swap.
    """
    place = place.copy()
    weight = 1 / counts.sum(axis=0)
    inside = np.eye(len(share), dtype=np.int64)
    # How far each fold is above its target, by class.
    over = inside[place].T @ counts - _targets(counts, share)

    def size(values):
        return np.abs(values) @ weight

    better = True
    while better:
        better = False
        for one in rng.permutation(len(place)):
            here = place[one]
            now = size(over)
            # Moves to each fold.
            change = size(over[here] - counts[one]) + size(over + counts[one])
            change = change - now[here] - now
            change[here] = 0.0
            if (place == here).sum() == 1:
                change[:] = 0.0  # it would leave the fold empty
            # Swaps with each site of another fold.
            given = counts - counts[one]
            swap = size(over[here] + given) + size(over[place] - given)
            swap = np.where(place == here, 0.0, swap - now[here] - now[place])
            to, other = int(np.argmin(change)), int(np.argmin(swap))
            if min(change[to], swap[other]) >= -SAME:
                continue
            better = True
            if change[to] <= swap[other]:
                over[here] -= counts[one]
                over[to] += counts[one]
                place[one] = to
            else:
                to = place[other]
                over[here] += given[other]
                over[to] -= given[other]
                place[one], place[other] = to, here
    return place


def optimum(counts, share, below: float) -> Int[np.ndarray, "S"] | None:
    """The best assignment whose deviation is less than `below`; None when none is found.

    x[s, f] is 1 where site s is in fold f, d[f, c] at least |count - target|; the sum of
    d / patients of the class is minimised. Ends by nodes, not by the clock.
    """
    (sites, classes), folds = counts.shape, len(share)
    weight = 1 / counts.sum(axis=0)
    targets = _targets(counts, share)
    one_fold = scipy.sparse.kron(scipy.sparse.eye_array(sites), np.ones((1, folds)))
    some_site = scipy.sparse.kron(np.ones((1, sites)), scipy.sparse.eye_array(folds))
    held = scipy.sparse.vstack(
        [
            scipy.sparse.kron(counts[:, [c]].T, scipy.sparse.eye_array(folds)).tocsr()
            for c in range(classes)
        ]
    )  # rows class by class, a fold each
    slack = scipy.sparse.eye(folds * classes)
    price = np.repeat(weight, folds)
    wanted = targets.T.ravel()

    def both(left, right):
        return scipy.sparse.hstack([left, right]).tocsr()

    none = scipy.sparse.csr_matrix
    rules = [
        LinearConstraint(both(one_fold, none((sites, folds * classes))), 1, 1),
        LinearConstraint(both(some_site, none((folds, folds * classes))), 1, np.inf),
        LinearConstraint(both(held, -slack), -np.inf, wanted),
        LinearConstraint(both(held, slack), wanted, np.inf),
    ]
    upper = np.ones((sites, folds))
    # Folds of equal share can be renamed: the i-th largest site is in one of their
    # first i + 1, which spares the search all renamings.
    largest = np.argsort(-counts[:, 0], kind="stable")
    for value in np.unique(share):
        alike = np.flatnonzero(share == value)
        for i, site in enumerate(largest[: len(alike)]):
            upper[site, alike[i + 1 :]] = 0
    found = milp(
        np.concatenate([np.zeros(sites * folds), price]),
        integrality=np.repeat([1, 0], [sites * folds, folds * classes]),
        bounds=Bounds(0, np.concatenate([upper.ravel(), np.full(len(price), np.inf)])),
        constraints=rules,
        options={"node_limit": MILP_NODES, "mip_rel_gap": 1e-6, "presolve": True},
    )
    if found.x is None:
        return None
    place = found.x[: sites * folds].reshape(sites, folds).argmax(axis=1)
    return place if cost(counts, share, place) < below - SAME else None
