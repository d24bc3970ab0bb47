"""Principal components of a study's pixels, a baseline that learns no filters.

Tiles are averaged down to 28 x 28 pixels; the components are those of all tiles of the
study, labels unseen. That they are fitted on test tiles too is in the baseline's favour.
"""

import numpy as np
import scipy.linalg
from jaxtyping import Float, UInt8

from pathjax.data.study import Study
from pathjax.embeddings.handcrafted import of_tiles

SIDE = 28
COMPONENTS = 128


def reduced(image: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N P"]:
    """Means of SIDE x SIDE blocks, in 0 to 1; what fills no block is left out.

    Raises:
      ValueError: Tiles are smaller than SIDE.
    """
    count, height, width = image.shape[:3]
    down, across = height // SIDE, width // SIDE
    if not down or not across:
        raise ValueError(
            f"expected tiles of at least {SIDE} px, got {image.shape[1:3]}"
        )
    cut = image[:, : SIDE * down, : SIDE * across]
    blocks = cut.reshape(count, SIDE, down, SIDE, across, 3)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1) / 255


def components(
    values: Float[np.ndarray, "T P"], count: int = COMPONENTS
) -> Float[np.ndarray, "T K"]:
    """Scores of the first components, at most T - 1; of each, the largest is positive."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred
    width = len(covariance)
    kept = min(count, len(values) - 1, width)
    _, vectors = scipy.linalg.eigh(
        covariance, subset_by_index=[width - kept, width - 1]
    )
    vectors = vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    return (centred @ vectors).astype(np.float32)


def tile_features(study: Study, batch: int = 256) -> Float[np.ndarray, "T K"]:
    """The scores of every tile of a study, in its order."""
    return components(of_tiles(study, reduced, batch))
