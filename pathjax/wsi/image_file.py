"""Plain images as slides: PNG and JPEG, such as a region that someone cut out; arrays.

Files are decoded whole into memory, hence a limit on their size. Their resolution tags
describe printing, not scanning, so their mpp has to be given.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from pathjax.data.images import GREY, to_rgb
from pathjax.wsi.base import Level, SlideError

# 1.2 GB in memory. Pillow's own limit (89 megapixels) is about half of a section of
# spatial transcriptomics.
MAX_PIXELS = 400_000_000


class ArraySlide:
    """A `Slide` of one level over an array `[H, W, 3]` uint8, which may be lazy.

    Anything with `shape` and slices that `np.asarray` understands: NumPy, dask, zarr.

    Raises:
      SlideError: It is no such array.
    """

    mpp = None
    mpp_source = "an array does not state its micrometres per pixel"

    def __init__(self, array: Any, reader: str = ""):
        if len(array.shape) != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
            raise SlideError(
                f"expected an image [height, width, 3] of uint8, got {array.dtype} of "
                f"shape {tuple(array.shape)}"
            )
        self._array = array
        height, width = (int(side) for side in array.shape[:2])
        self.levels = (Level(width, height, 1.0, reader),)
        self.bounds = (0, 0, width, height)

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        return window(self._array, x, y, width, height)

    def expect(self, level, regions) -> None:
        pass

    def close(self) -> None:
        pass  # the array is the caller's


class ImageFile(ArraySlide):
    """A file, held in memory.

    Raises:
      SlideError: Damaged, truncated, or above MAX_PIXELS.
    """

    mpp_source = "a plain image does not state its micrometres per pixel"

    def __init__(self, path: Path):
        try:
            pixels = _decode(path)
        except SlideError:
            raise
        except ValueError as error:
            raise SlideError(f"{path}: {error}") from error
        except (OSError, SyntaxError, EOFError) as error:
            raise SlideError(f"{path} is not a complete image ({error})") from error
        super().__init__(pixels, "Pillow")

    def close(self) -> None:
        del self._array


def window(
    pixels: Any, x: int, y: int, width: int, height: int, fill: Any = 255
) -> Shaped[np.ndarray, "h w *c"]:
    """A window `[height, width, ...]` of an array; `fill` beyond its edges."""
    top, left = max(y, 0), max(x, 0)
    piece = np.asarray(pixels[top : max(y + height, 0), left : max(x + width, 0)])
    if piece.shape[:2] == (height, width):
        return piece
    out = np.full((height, width, *pixels.shape[2:]), fill, pixels.dtype)
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
