"""Pairs of classes at pairs of sites, in whose four cells robustness is measured.

    class, site and group of each row -> two_by_two -> [Pair], or what makes it meaningless

Where class and site go together, grouping by one cannot be told from grouping by the
other. So two classes are compared at two sites that both have, with at least LEAST groups
(patients) in each of the four cells (as PathoROB's 2x2 subsets, arXiv:2507.17845). It
embeds and scores nothing.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped

from pathjax.evals import EvalError

LEAST = 2


@dataclasses.dataclass(frozen=True)
class Pair:
    """Rows of two classes at two sites.

    Attributes:
      name: "CLASS, CLASS at SITE, SITE".
      rows: Row numbers into what `two_by_two` was given.
      cell: 2 * class + site of each.
      group: Number of each one's group, from 0.
    """

    name: str
    rows: Int[np.ndarray, "m"]
    cell: Int[np.ndarray, "m"]
    group: Int[np.ndarray, "m"]


def _thinned(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many, evenly."""
    return rows[np.arange(most) * len(rows) // most] if len(rows) > most else rows


def two_by_two(
    label: Shaped[np.ndarray, "n"],
    site: Shaped[np.ndarray, "n"],
    group: Shaped[np.ndarray, "n"],
    *,
    group_name: str = "patients",
    tiles: int = 100,
    pairs: int = 36,
) -> tuple[list[Pair], int]:
    """All pairs of classes and sites with enough groups, those with the most first.

    Args:
      label, site, group: Names of each row's class, site and group.
      group_name: For messages.
      tiles: Rows of a group in a cell at most; more are thinned evenly.
      pairs: Pairs at most.

    Returns:
      The pairs, and how many more there were.

    Raises:
      EvalError: One class or one site; class and site go together; or every pair has a
        cell with fewer than LEAST groups.
    """
    classes, sites = np.unique(label), np.unique(site)
    for names, what in ((classes, "classes"), (sites, "sites")):
        if len(names) < 2:
            raise EvalError(
                f"robustness compares at least two {what}, got {len(names)} "
                f"({', '.join(map(str, names))}): name another column, or more folds"
            )
    c, s = (np.unique(each, return_inverse=True)[1] for each in (label, site))
    counts = np.zeros((len(classes), len(sites)), np.int64)
    for place in np.ndindex(counts.shape):
        counts[place] = len(np.unique(group[(c == place[0]) & (s == place[1])]))
    found = [
        (int(counts[np.ix_(one, other)].min()), one, other)
        for one in itertools.combinations(range(len(classes)), 2)
        for other in itertools.combinations(range(len(sites)), 2)
    ]
    found.sort(key=lambda item: -item[0])
    smallest, first, second = found[0]
    if smallest < LEAST:
        best = classes[list(first)], sites[list(second)]
        raise EvalError(_why_not(smallest, *best, group_name))
    enough = [(one, other) for count, one, other in found if count >= LEAST]
    made = [
        _pair(classes, sites, c, s, group, one, other, tiles)
        for one, other in enough[:pairs]
    ]
    return made, len(enough) - len(made)


def _why_not(smallest: int, classes, sites, groups: str) -> str:
    """Why the best pair has no meaning."""
    if not smallest:
        return (
            "class and site are confounded: no two classes occur at the same two sites, so "
            "grouping by class cannot be told from grouping by site. Use a study whose "
            "sites share classes, or a coarser site"
        )
    return (
        f"no two classes have {LEAST} {groups} each at two sites; the best, "
        f"{' and '.join(map(str, classes))} at {' and '.join(map(str, sites))}, have a cell "
        f"with {smallest}, whose neighbours of the same class and site would be itself: "
        "use more folds, or a coarser class or site"
    )


def _pair(classes, sites, c, s, group, one, other, tiles: int) -> Pair:
    rows, cells = [], []
    for cell, (a, b) in enumerate(itertools.product(one, other)):
        inside = np.flatnonzero((c == a) & (s == b))
        parts = [
            _thinned(inside[group[inside] == own], tiles)
            for own in np.unique(group[inside])
        ]
        rows.append(np.concatenate(parts))
        cells.append(np.full(len(rows[-1]), cell, np.int32))
    every = np.concatenate(rows)
    named = " at ".join(
        ", ".join(map(str, names[list(two)]))
        for names, two in ((classes, one), (sites, other))
    )
    numbers = np.unique(group[every], return_inverse=True)[1].astype(np.int32)
    return Pair(named, every, np.concatenate(cells), numbers)


def cells_of(pair: Pair) -> Sequence[Int[np.ndarray, "g"]]:
    """The groups of each of the four cells."""
    return [np.unique(pair.group[pair.cell == cell]) for cell in range(4)]
