"""Hand-crafted features: 18 numbers for a tile's colour and texture, a baseline.

A tile's mean colour separates nuclei from collagen and fat, which predicts some
expression without learning. Probed exactly like an encoder's embedding, this row of the
table shows how much of a score is colour. NumPy only; no parameter is fitted, and nothing
is normalised per study.

    0-2    mean of red, green, blue
    3-5    their standard deviation
    6-7    mean optical density of haematoxylin, of eosin
    8-9    their standard deviation
    10     95th percentile of haematoxylin: how dark the darkest nuclei are
    11     share of nuclear pixels (haematoxylin above 0.6)
    12     share of empty pixels (green above 200): lumen, fat, glass
    13-14  mean and standard deviation of the brightness gradient
    15     local contrast: mean standard deviation in blocks of 1/28 of the side
    16     coarse contrast: standard deviation between blocks of 1/7 of the side
    17     covariance of haematoxylin and eosin over pixels

Values 0 to 255 are scaled to 0 to 1, optical density is decadic. Blocks are shares of
the side, so for tiles of one physical size the features hardly depend on resolution,
except 13 and 14, which are per pixel.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8

from pathjax.data.images import decode_tile
from pathjax.data.study import Study

FEATURES = (
    *("mean_red", "mean_green", "mean_blue", "sd_red", "sd_green", "sd_blue"),
    *("mean_haematoxylin", "mean_eosin", "sd_haematoxylin", "sd_eosin"),
    *("p95_haematoxylin", "nuclear_share", "empty_share"),
    *("mean_gradient", "sd_gradient", "local_contrast", "coarse_contrast"),
    "covariance_stains",
)

# Optical density per unit of stain in red, green and blue: haematoxylin, eosin, and
# the residual direction at right angles to both. Ruifrok and Johnston, Analytical and
# Quantitative Cytology and Histology 23:291 (2001), table 1.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], np.float32)
NUCLEAR = 0.6
EMPTY = 200 / 255

# Half a grey level instead of zero, so that black has a finite density. A table of the
# 256 values, because a logarithm per pixel would take half of the time.
DENSITY = -np.log10(np.maximum(np.arange(256), 0.5) / 255).astype(np.float32)


def unmix() -> Float[np.ndarray, "3 3"]:
    """The matrix from optical density `[..., RGB]` to stains `[..., H E residual]`."""
    stains = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    residual = np.cross(stains[0], stains[1])
    rows = np.vstack([stains, residual / np.linalg.norm(residual)])
    return np.linalg.inv(rows).astype(np.float32)


def features(image: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N 18"]:
    """The features of each tile, in the order of FEATURES.

    Args:
      image: RGB tiles `[N, H, W, 3]`, sides of at least 28 pixels.

    Returns:
      float32 `[N, 18]`, finite for every image.

    Raises:
      ValueError: of another type or shape, or too small for the blocks.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
        raise ValueError(
            f"expected uint8 tiles [N, H, W, 3], got {image.dtype} {image.shape}"
        )
    if min(image.shape[1:3]) < 28:
        raise ValueError(f"expected tiles of at least 28 px, got {image.shape[1:3]}")
    matrix = unmix()
    # Tile by tile: the intermediates of one 224 px tile are 3 MB, and stay in cache.
    rows = [_of_tile(tile, matrix) for tile in image]
    return np.array(rows, np.float32).reshape(len(image), len(FEATURES))


def tile_features(study: Study) -> Float[np.ndarray, "T 18"]:
    """The features of every tile of a study, in its order."""
    return of_tiles(study, features)


def of_tiles(
    study: Study,
    function: Callable[[UInt8[np.ndarray, "N H W 3"]], Float[np.ndarray, "N F"]],
    batch: int = 64,
) -> Float[np.ndarray, "T F"]:
    """What a function gives for every tile of a study, called with `batch` at a time."""
    parts = []
    for start in range(0, len(study.tiles), batch):
        rows = range(start, min(start + batch, len(study.tiles)))
        tiles = np.stack([decode_tile(data) for data in study.tile_bytes(rows)])
        parts.append(function(tiles))
    return np.concatenate(parts)


def _of_tile(
    tile: UInt8[np.ndarray, "H W 3"], matrix: Float[np.ndarray, "3 3"]
) -> list[float]:
    colour = tile.astype(np.float32) / 255
    stains = DENSITY[tile] @ matrix
    haematoxylin, eosin = stains[..., 0], stains[..., 1]
    grey = colour.mean(axis=-1)
    down, right = np.gradient(grey)
    gradient = np.hypot(down, right)
    _, spread = _blocks(grey, 28)
    coarse, _ = _blocks(grey, 7)
    product = (haematoxylin - haematoxylin.mean()) * (eosin - eosin.mean())
    return [
        *colour.mean(axis=(0, 1)),
        *colour.std(axis=(0, 1)),
        haematoxylin.mean(),
        eosin.mean(),
        haematoxylin.std(),
        eosin.std(),
        np.percentile(haematoxylin, 95),
        (haematoxylin > NUCLEAR).mean(),
        (colour[..., 1] > EMPTY).mean(),
        gradient.mean(),
        gradient.std(),
        spread.mean(),
        coarse.std(),
        product.mean(),
    ]


def _blocks(
    grey: Float[np.ndarray, "H W"], count: int
) -> tuple[Float[np.ndarray, "R C"], Float[np.ndarray, "R C"]]:
    """Mean and standard deviation of blocks with sides of 1/`count` of the tile's.

    What does not fill a block at the right and lower edge is left out.
    """
    height, width = grey.shape[0] // count, grey.shape[1] // count
    cut = grey[: height * count, : width * count]
    cut = cut.reshape(count, height, count, width)
    return cut.mean(axis=(1, 3)), cut.std(axis=(1, 3))
