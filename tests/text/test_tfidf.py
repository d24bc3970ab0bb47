"""TF-IDF with SVD: what it is fitted to, and what that leaves out."""

import numpy as np
import pytest
from extras import need

from pathjax.data.text_store import TextError
from pathjax.text.tfidf import tfidf_vectors

decomposition = need("sklearn.decomposition")

KINDS = ("clear cell renal carcinoma", "papillary renal tumour with foam")
TEXTS = [f"{KINDS[i % 2]} case w{i % 3}" for i in range(12)]


def test_like_texts_are_near_and_the_seed_decides():
    found = tfidf_vectors(TEXTS, np.ones(12, bool), dimensions=3)
    assert found.shape == (12, 3) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    near = found @ found.T
    same = np.equal.outer(np.arange(12) % 2, np.arange(12) % 2)
    assert near[same].min() > near[~same].max()
    again = tfidf_vectors(TEXTS, np.ones(12, bool), dimensions=3)
    np.testing.assert_array_equal(found, again)


def test_it_is_tf_idf_as_defined():
    """Weights written out: (1 + ln tf) * (1 + ln((1 + n) / (1 + df))), unit rows."""
    texts = ["alpha beta alpha", "alpha gamma", "beta gamma gamma", "delta alpha"]
    vocabulary = ["alpha", "beta", "gamma"]  # delta and all pairs: in one text only
    counts = np.array([[one.split().count(w) for w in vocabulary] for one in texts])
    tf = np.where(counts, 1 + np.log(np.maximum(counts, 1)), 0)
    rows = tf * (1 + np.log(5 / (1 + (counts > 0).sum(0))))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = decomposition.TruncatedSVD(2, random_state=0).fit_transform(rows)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = tfidf_vectors(texts, np.ones(4, bool), dimensions=2)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)


def test_texts_that_are_not_fitted_change_nothing():
    fit = np.arange(12) < 8
    found = tfidf_vectors(TEXTS, fit, dimensions=3)
    other = [*TEXTS[:8], "lymph node", "lymph node", TEXTS[0], "lymph"]
    after = tfidf_vectors(other, fit, dimensions=3)
    np.testing.assert_allclose(found[:8], after[:8], atol=1e-6)
    np.testing.assert_allclose(after[10], found[0], atol=1e-6)
    assert not after[[8, 9, 11]].any()  # words of test patients are not known


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["one text", "two texts"], "fitted to 2 texts, expected 3 or more"),
        (["aa", "bb", "cc"], "finds no word to use"),
        (["aa xx", "aa xx", "cc", "dd"], None),
        (["aa 1", "aa", "bb"], "finds 1 words in 3 texts: too few"),
    ],
)
def test_too_little_to_fit_to(texts, message):
    fit = np.ones(len(texts), bool)
    if message is None:
        assert tfidf_vectors(texts, fit).shape == (4, 2)
        return
    with pytest.raises(TextError, match=message):
        tfidf_vectors(texts, fit)
