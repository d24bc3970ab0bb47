"""Plain images as slides: PNG and JPEG, such as a region that someone cut out.

Decoded whole into memory, hence a limit on their size. Their resolution tags describe
printing, not scanning, so their mpp has to be given.
"""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pathjax.data.images import GREY, to_rgb
from pathjax.wsi.base import Level, SlideError

# 1.2 GB in memory. Pillow's own limit (89 megapixels) is about half of a section of
# spatial transcriptomics.
MAX_PIXELS = 400_000_000


class ImageFile:
    """A `Slide` of one level, held in memory.

    Raises:
      SlideError: Damaged, truncated, or above MAX_PIXELS.
    """

    mpp = None
    mpp_source = "a plain image does not state its micrometres per pixel"

    def __init__(self, path: Path):
        try:
            self._pixels = _decode(path)
        except SlideError:
            raise
        except ValueError as error:
            raise SlideError(f"{path}: {error}") from error
        except (OSError, SyntaxError, EOFError) as error:
            raise SlideError(f"{path} is not a complete image ({error})") from error
        height, width = self._pixels.shape[:2]
        self.levels = (Level(width, height, 1.0, "Pillow"),)
        self.bounds = (0, 0, width, height)

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        return window(self._pixels, x, y, width, height)

    def expect(self, level, regions) -> None:
        pass

    def close(self) -> None:
        del self._pixels


def window(
    pixels: UInt8[np.ndarray, "H W 3"], x: int, y: int, width: int, height: int
) -> UInt8[np.ndarray, "h w 3"]:
    """A window `[height, width, 3]` of an array; white beyond its edges."""
    bottom, right = pixels.shape[0], pixels.shape[1]
    if x >= 0 and y >= 0 and x + width <= right and y + height <= bottom:
        return pixels[y : y + height, x : x + width]
    out = np.full((height, width, 3), 255, np.uint8)
    top, left = max(y, 0), max(x, 0)
    piece = pixels[top : max(y + height, 0), left : max(x + width, 0)]
    at_y, at_x = top - y, left - x
    out[at_y : at_y + piece.shape[0], at_x : at_x + piece.shape[1]] = piece
    return out


def _decode(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(path)
        except Image.DecompressionBombError as error:
            raise SlideError(f"{path}: {error}: convert it to a tiled TIFF") from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise SlideError(
                f"{path} is {image.width} x {image.height} px, expected at most "
                f"{MAX_PIXELS:,} px in all: convert it to a tiled TIFF"
            )
        if image.mode in GREY:
            raise SlideError(f"{path}: expected colour, got mode {image.mode}")
        return to_rgb(image)
