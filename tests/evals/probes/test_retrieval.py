import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.evals import EvalError
from pathjax.evals.probes.retrieval import (
    chance_recall,
    ranks,
    recall_at_k,
)


def loop_recall(query, offered, k, pair):
    """Recall@k by sorting, one query at a time."""
    hits = []
    for row, one in enumerate(query):
        cosine = offered @ one / np.linalg.norm(offered, axis=1) / np.linalg.norm(one)
        best = np.argsort(-cosine)[:k]
        hits.append(bool((pair[best] == pair[row]).any()))
    return np.array(hits)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000), n=st.integers(2, 30), k=st.integers(1, 12),
    patients=st.integers(1, 30),
)  # fmt: skip
def test_recall_equals_a_loop_both_ways(seed, n, k, patients):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(n, 5))
    expression = image + rng.normal(0, 1.0, (n, 5))
    pair = rng.integers(0, patients, n)
    found = recall_at_k(image, expression, k, pair_id=pair)
    np.testing.assert_array_equal(
        found.hits[:, 0], loop_recall(image, expression, k, pair)
    )
    np.testing.assert_array_equal(
        found.hits[:, 1], loop_recall(expression, image, k, pair)
    )
    both = (found.image_to_expression + found.expression_to_image) / 2
    assert found.value == pytest.approx(both)


def test_chance_is_k_over_n_and_right_for_several_answers():
    assert chance_recall(np.arange(40), 10) == pytest.approx(0.25)
    assert chance_recall(np.arange(4), 10) == 1
    rng = np.random.default_rng(0)
    pair = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    hits = []
    for _ in range(4000):
        order = rng.permutation(8)
        hits.append([(pair[order[:2]] == one).any() for one in pair])
    assert chance_recall(pair, 2) == pytest.approx(np.mean(hits), abs=0.01)


def test_masked_rows_are_neither_asked_nor_offered():
    rng = np.random.default_rng(1)
    image, expression = rng.normal(size=(2, 20, 4))
    mask = np.arange(20) < 12
    image[~mask] = np.nan
    found = recall_at_k(image, expression, 3, mask=mask)
    alone = recall_at_k(image[:12], expression[:12], 3)
    np.testing.assert_array_equal(found.hits, alone.hits)
    assert (found.n, found.chance) == (12, alone.chance) == (12, 0.25)


def test_within_slides_each_slide_is_its_own_pool():
    rng = np.random.default_rng(2)
    image, expression = rng.normal(size=(2, 15, 4))
    slide = np.array(list("aabbbbbcccccccc"))
    found = recall_at_k(image, expression, 2, group=slide)
    for one in "abc":
        rows = slide == one
        alone = recall_at_k(image[rows], expression[rows], 2)
        np.testing.assert_array_equal(found.hits[rows], alone.hits)
    assert found.chance == pytest.approx((2 * 1 + 5 * 2 / 5 + 8 * 2 / 8) / 15)


def test_constant_embeddings_retrieve_nothing():
    same = np.ones((10, 3))
    assert recall_at_k(same, same, 3).value == 0
    assert (ranks(same, same, np.arange(10)) == 10).all()


def test_perfect_embeddings_retrieve_everything_also_in_pieces():
    z = np.random.default_rng(0).normal(size=(1500, 8))  # more than one piece
    assert recall_at_k(z, 3 * z, 1).value == 1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image": np.zeros((3, 2))}, "one model's towers"),
        ({"k": 0}, "got k=0"),
        ({"mask": np.zeros(4, bool)}, "0 rows"),
        ({"image": np.full((4, 2), np.nan)}, "not finite"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"image": np.ones((4, 2)), "expression": np.ones((4, 2)), "k": 1}
    with pytest.raises(EvalError, match=message):
        recall_at_k(**(arguments | change))
