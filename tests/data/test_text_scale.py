"""The scale of text embeddings: of training samples only, and whose it is."""

import numpy as np
import pytest

from pathjax.data.study import StudyError
from pathjax.data.text_store import TextEmbeddings, TextScale, fingerprint_of, fit_text

IDS = [f"P{i:02d}" for i in range(10)]
META = {"backend": "tfidf", "model": "tfidf-svd"}


def embeddings(ids=IDS, **change):
    random = np.random.default_rng(0)
    values = 5 + random.normal(size=(10, 4)) * [3, 1, 1, 0.1]
    return TextEmbeddings(list(ids), values.astype(np.float32), META | change)


def test_training_samples_alone_set_the_scale():
    made = embeddings()
    scale = fit_text(made, IDS[:6])
    scaled = scale.normalise(made.values)
    np.testing.assert_allclose(scaled[:6].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(scaled[:6]).mean(), 1, rtol=1e-5)
    # What a dimension says in proportion to the others is kept.
    spread = scaled[:6].std(axis=0) / made.values[:6].std(axis=0)
    np.testing.assert_allclose(spread, spread[0], rtol=1e-5)
    other = embeddings()
    other.values[6:] = 1e3
    assert fit_text(other, IDS[:6]).std == scale.std
    assert scale.samples == 6 and scale.backend == "tfidf"


def test_it_travels_as_json():
    scale = fit_text(embeddings(), IDS)
    entry = scale.to_json()
    assert entry["dimensions"] == 4 and entry["fingerprint"].startswith("sha256:")
    back = TextScale.from_json(entry)
    np.testing.assert_array_equal(back.mean, scale.mean)
    assert back.to_json() == entry


def test_the_fingerprint_is_of_the_content():
    made = embeddings()
    order = np.random.default_rng(1).permutation(10)
    shuffled = TextEmbeddings([IDS[i] for i in order], made.values[order], META)
    assert fingerprint_of(shuffled) == fingerprint_of(made)
    changed = embeddings()
    changed.values[3, 1] += 1e-3
    renamed = embeddings(["Q", *IDS[1:]])
    assert len({fingerprint_of(one) for one in (made, changed, renamed)}) == 3


def test_no_texts_to_fit_to():
    with pytest.raises(StudyError, match=r"1 of 2 training samples.*embed the reports"):
        fit_text(embeddings(), ["P00", "X1"])
    same = TextEmbeddings(IDS, np.ones((10, 3), np.float32), META)
    with pytest.raises(StudyError, match="are the same"):
        fit_text(same, IDS)
