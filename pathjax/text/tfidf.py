"""TF-IDF with SVD: words weighted by rarity, projected on their main directions.

Latent semantic analysis (Deerwester et al. 1990), by scikit-learn. It is fitted to
texts: fit it to training patients only if it is to be tested on others. Nothing leaves
the machine, and nothing is cached because it takes seconds.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from pathjax.data.text_store import TextError
from pathjax.optional_deps import need


def tfidf_vectors(
    texts: Sequence[str],
    fit: Bool[np.ndarray, "n"],
    *,
    dimensions: int = 256,
    seed: int = 0,
) -> Float[np.ndarray, "n T"]:
    """Vectors of unit length; zeros for a text without any known word.

    The vocabulary is words and pairs of words that are in at least two fitted texts and
    at most nine in ten, 50,000 at most; term counts are 1 + log(count).

    Args:
      texts: n of them.
      fit: Which texts give words, weights and directions.
      dimensions: T; fewer if there are fewer texts or words.
      seed: Of the randomised SVD.

    Raises:
      TextError: too few texts to fit, or none that share a word.
      RuntimeError: scikit-learn is missing.
    """
    if dimensions < 1:
        raise TextError(f"--dimensions: expected at least 1, got {dimensions}")
    fitted = [text for text, use in zip(texts, fit, strict=True) if use]
    if len(fitted) < 3:
        raise TextError(f"TF-IDF is fitted to {len(fitted)} texts, expected 3 or more")
    vectoriser = need("sklearn.feature_extraction.text", "text").TfidfVectorizer(
        sublinear_tf=True,
        strip_accents="unicode",
        ngram_range=(1, 2),
        min_df=2,
        max_df=0.9,
        max_features=50_000,
    )
    try:
        weights = vectoriser.fit_transform(fitted)
    except ValueError as error:
        raise TextError(f"TF-IDF finds no word to use: {error}") from error
    width = min(dimensions, weights.shape[0] - 1, weights.shape[1] - 1)
    if width < 1:
        raise TextError(
            f"TF-IDF finds {weights.shape[1]} words in {len(fitted)} texts: too few"
        )
    svd = need("sklearn.decomposition", "text").TruncatedSVD(width, random_state=seed)
    svd.fit(weights)
    vectors = svd.transform(vectoriser.transform(texts))
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(
        vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-12
    ).astype(np.float32)
