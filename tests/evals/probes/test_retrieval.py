import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.evals import EvalError
from pathjax.evals.probes.retrieval import ranks, recall_at_k


def loop_recall(query, offered, k):
    """Recall@k by sorting, one query at a time."""
    hits = []
    for row, z in enumerate(query):
        cosine = offered @ z / np.linalg.norm(offered, axis=1) / np.linalg.norm(z)
        hits.append(row in np.argsort(-cosine)[:k])
    return np.array(hits)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(2, 30), k=st.integers(1, 12))
def test_recall_equals_a_loop_both_ways(seed, n, k):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(n, 5))
    expression = image + rng.normal(0, 1.0, (n, 5))
    hits, chance = recall_at_k(image, expression, k)
    np.testing.assert_array_equal(hits[:, 0], loop_recall(image, expression, k))
    np.testing.assert_array_equal(hits[:, 1], loop_recall(expression, image, k))
    assert chance == min(k / n, 1)


def test_within_slides_each_slide_is_searched_alone():
    rng = np.random.default_rng(2)
    image, expression = rng.normal(size=(2, 15, 4))
    slide = np.array(list("aabbbbbcccccccc"))
    hits, chance = recall_at_k(image, expression, 2, group=slide)
    for name in "abc":
        rows = slide == name
        alone, _ = recall_at_k(image[rows], expression[rows], 2)
        np.testing.assert_array_equal(hits[rows], alone)
    assert chance == pytest.approx((2 * 1 + 5 * 2 / 5 + 8 * 2 / 8) / 15)


def test_constant_embeddings_retrieve_nothing():
    same = np.ones((10, 3))
    assert not recall_at_k(same, same, 3)[0].any()
    assert (ranks(same, same) == 10).all() and ranks(same, same).shape == (10, 2)


def test_recall_in_pieces_equals_a_loop():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1500, 8))  # more than one piece
    assert recall_at_k(z, 3 * z, 1)[0].all()
    other = z + rng.normal(size=z.shape)
    hits, _ = recall_at_k(z, other, 5)
    np.testing.assert_array_equal(hits[:, 0], loop_recall(z, other, 5))
    np.testing.assert_array_equal(hits[:, 1], loop_recall(other, z, 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((3, 2))}, "one model's towers"),
        ({"k": 0}, "got 0, 4 rows"),
        ({"image": np.full((4, 2), np.nan)}, "not finite"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"image": np.ones((4, 2)), "expression": np.ones((4, 2)), "k": 1}
    with pytest.raises(EvalError, match=message):
        recall_at_k(**(arguments | change))
