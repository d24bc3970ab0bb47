"""All assignments of tiny problems, one by one, are the oracle."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pathjax.data.site_folds import assign_sites, cost, greedy, improve


def problem(seed, sites, classes):
    """Counts of patients by site and class; the first column is all of them."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, (sites, classes))
    counts[np.arange(sites), np.arange(sites) % classes] += 1
    return np.column_stack([counts.sum(axis=1), counts])


def best_of_all(counts, share):
    places = itertools.product(range(len(share)), repeat=len(counts))
    filled = (np.array(one) for one in places if len(set(one)) == len(share))
    return min(cost(counts, share, one) for one in filled)


SHARES = (
    np.array([0.5, 0.5]),
    np.array([0.6, 0.25, 0.15]),
    np.full(3, 1 / 3),
    np.array([0.6, 0.2, 0.2]),
)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 9999), sites=st.integers(4, 6), share=st.sampled_from(SHARES)
)
@example(seed=6170, sites=6, share=SHARES[3])  # where local search is not enough
def test_tiny_problems_are_solved_to_the_optimum(seed, sites, share):
    counts = problem(seed, sites, 3)
    place = assign_sites(counts, share, seed)
    assert len(set(place.tolist())) == len(share)
    assert cost(counts, share, place) == pytest.approx(best_of_all(counts, share))


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 9999), sites=st.integers(5, 90), share=st.sampled_from(SHARES)
)
def test_no_step_makes_it_worse_or_empties_a_fold(seed, sites, share):
    counts = problem(seed, sites, 5)
    rng = np.random.default_rng(seed)
    first = greedy(counts, share, rng)
    better = improve(counts, share, first, rng)
    assert len(set(first.tolist())) == len(set(better.tolist())) == len(share)
    assert cost(counts, share, better) <= cost(counts, share, first) + 1e-9
    # Nothing that one move could still do better.
    for one, to in itertools.product(range(sites), range(len(share))):
        moved = better.copy()
        moved[one] = to
        if len(set(moved.tolist())) == len(share):
            gain = cost(counts, share, better) - cost(counts, share, moved)
            assert gain <= 1e-8


@pytest.mark.parametrize("seed", range(2))
def test_the_whole_search_is_no_worse_than_greedy_and_repeatable(seed):
    counts, share = problem(seed, 60, 6), np.full(5, 0.2)
    place = assign_sites(counts, share, seed)
    first = greedy(counts, share, np.random.default_rng(seed))
    assert cost(counts, share, place) <= cost(counts, share, first)
    np.testing.assert_array_equal(place, assign_sites(counts, share, seed))


def test_as_many_sites_as_folds_fill_them_all():
    counts = np.array([[50, 50], [1, 1], [1, 1], [1, 1]])
    share = np.array([0.9, 0.05, 0.03, 0.02])
    for found in (
        greedy(counts, share, np.random.default_rng(0)),
        assign_sites(counts, share, 0),
    ):
        assert sorted(found.tolist()) == [0, 1, 2, 3] and found[0] == 0
