"""Whose row each row gets when images and labels are to have nothing to do with each other.

    group of each row, seed -> deal -> row numbers

For controls: tuning on shuffled pairs (train/inputs.py) and probes on permuted labels
(evals/evaluate.py). It moves no data.
"""

import numpy as np
from jaxtyping import Int, Shaped


def deal(group: Shaped[np.ndarray, "n"], seed: int) -> Int[np.ndarray, "n"]:
    """For each row the number of a row of another group; one other group for a group.

    Groups are put in a random order and each gets the rows of the next, in random order,
    again from the first where it has more rows than that. So no group keeps its own, each
    is given away once, and rows of one group still have one source.

    Args:
      group: Such as patients. A single group keeps its rows, in random order.
      seed: Of both orders.
    """
    rng = np.random.default_rng((seed, 0))
    names, number = np.unique(group, return_inverse=True)
    order = rng.permutation(len(names))
    giver = np.empty_like(order)
    giver[order] = np.roll(order, -1)
    rows = [rng.permutation(np.flatnonzero(number == one)) for one in range(len(names))]
    source = np.empty(len(number), np.int64)
    for one, own in enumerate(rows):
        source[np.sort(own)] = np.resize(rows[giver[one]], len(own))
    return source
