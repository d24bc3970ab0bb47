"""A whole image at low magnification: colour and texture by block, tissue, thumbnail.

Read once, in parts, from the coarsest level that still shows nuclei.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from pathjax.datasets.spatial.image import ImageSource
from pathjax.wsi.overview import squares
from pathjax.wsi.scale import level_for

READ_UM = 2.0  # per pixel: nuclei are a few pixels wide
BLOCK_UM = 16.0  # about one and a half nuclei: a block of tissue holds an edge
MIN_BLOCK_PX = 4  # fewer show no texture
READ_PX = 2048  # side of what is read at once
THUMBNAIL_PX = 1200  # longer side of a thumbnail
BLACK = 2  # brightest value of what was blanked


@dataclasses.dataclass(frozen=True)
class Survey:
    """An image in blocks of about 16 um.

    Attributes:
      colour: Mean RGB of each block, 0 to 255.
      spread: Standard deviation of green (where both stains absorb) in each block.
      block: Side of a block in level-0 pixels.
      thumbnail: The image, at most THUMBNAIL_PX wide or high.
      thumbnail_scale: Pixels of it per level-0 pixel.
    """

    colour: Float[np.ndarray, "h w 3"]
    spread: Float[np.ndarray, "h w"]
    block: float
    thumbnail: UInt8[np.ndarray, "H W 3"]
    thumbnail_scale: float

    @property
    def tissue(self) -> Bool[np.ndarray, "h w"]:
        """Blocks that hold tissue, by local contrast.

        Otsu's threshold on the logarithm of the spread. Colour would be the usual
        choice, but sections may lie in smears of bled eosin as saturated as tissue, and
        fat is as pale as glass; both are recognised by texture.
        """
        contrast = np.log2(1 + self.spread)
        return contrast > otsu(contrast)

    @property
    def coloured(self) -> Bool[np.ndarray, "h w"]:
        """Blocks of stronger colour than most: stained, or stained and smeared."""
        high, low = self.colour.max(axis=-1), self.colour.min(axis=-1)
        saturation = (high - low) / (high + 1)
        return saturation > otsu(saturation)

    @property
    def background(self) -> UInt8[np.ndarray, "3"]:
        """Median colour outside the tissue; white where all is tissue."""
        glass = self.colour[~self.tissue & (self.colour.max(axis=-1) > BLACK)]
        if not len(glass):
            return np.full(3, 255, np.uint8)
        return np.median(glass, axis=0).round().astype(np.uint8)

    def blocks_at(self, positions: Float[np.ndarray, "n 2"]) -> np.ndarray:
        """Row and column of the block under each position; -1 outside the image."""
        place = np.floor(positions[:, ::-1] / self.block).astype(int)
        outside = ((place < 0) | (place >= self.spread.shape)).any(axis=1)
        place[outside] = -1
        return place


def survey(image: ImageSource, mpp: float) -> Survey:
    """Reads the whole image.

    Raises:
      StudyError: It is damaged.
    """
    slide = image.slide
    index = level_for(slide.levels, mpp, READ_UM)
    level = slide.levels[index]
    block = max(MIN_BLOCK_PX, round(BLOCK_UM / (mpp * level.downsample)))
    rows, columns = max(1, level.height // block), max(1, level.width // block)
    colour = np.full((rows, columns, 3), 255, np.float32)
    spread = np.zeros((rows, columns), np.float32)
    longest = max(level.width, level.height)
    reduced = max(1, math.ceil(longest / THUMBNAIL_PX))
    small = np.full(
        (math.ceil(level.height / reduced), math.ceil(level.width / reduced), 3),
        255,
        np.uint8,
    )
    step = max(1, READ_PX // math.lcm(block, reduced)) * math.lcm(block, reduced)
    for left, top, piece in squares(slide, index, step):
        part = np.asarray(Image.fromarray(piece).reduce(reduced))
        y, x = top // reduced, left // reduced
        small[y : y + part.shape[0], x : x + part.shape[1]] = part
        down, across = piece.shape[0] // block, piece.shape[1] // block
        if down and across:
            cells = piece[: down * block, : across * block].reshape(
                down, block, across, block, 3
            )
            y, x = top // block, left // block
            place = (slice(y, y + down), slice(x, x + across))
            colour[place] = cells.mean(axis=(1, 3), dtype=np.float32)
            green = cells[..., 1].astype(np.float32)
            spread[place] = green.std(axis=(1, 3))
    return Survey(
        colour,
        spread,
        block * level.downsample,
        small,
        1 / (reduced * level.downsample),
    )


def otsu(values: np.ndarray, bins: int = 256) -> float:
    """Threshold with the largest variance between classes.

    Otsu, IEEE Trans. Systems, Man, and Cybernetics 9:62 (1979).
    """
    counts, edges = np.histogram(values, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    above = counts.sum() - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / above
    between = np.where((below > 0) & (above > 0), below * above * gap**2, -1.0)
    best = np.flatnonzero(between == between.max())  # a plateau where the gap is empty
    return float(edges[1:-1][int(best.mean())])
