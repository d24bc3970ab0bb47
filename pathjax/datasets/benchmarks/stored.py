"""One published image to the bytes that a study stores.

What evaluation would do first anyway is done here: the short side to the tile's, the
middle square, as torchvision does it (data/preprocess.py). Nothing is lost beyond that:
an image that has the size already is stored as it is published where that is PNG or
JPEG, and all else as PNG.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.data.preprocess import Preprocess

FORMATS = ("PNG", "JPEG", "TIFF")
# BRACS has regions of over 100 megapixels; Pillow warns from 89. Bounds the memory of
# one image to 1 GB.
MAX_PIXELS = 250_000_000


@contextlib.contextmanager
def own_pixel_limit() -> Iterator[None]:
    """Replaces Pillow's limit for the process by MAX_PIXELS, which is checked here."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def stored_tile(
    image: bytes | UInt8[np.ndarray, "H W 3"], px: int
) -> tuple[bytes, int]:
    """The bytes to store, and the short side of the published image in pixels.

    Raises:
      ValueError: the image is not whole, too large, or not of 8 bits a channel.
    """
    if isinstance(image, np.ndarray):
        return _shrunk(image, px), min(image.shape[:2])
    # Pillow's plugins raise almost anything on damaged files (SyntaxError, KeyError,
    # struct.error), and a set must survive each.
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as header:
            form, mode, size = header.format, header.mode, header.size
        if size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"{size[0]} x {size[1]} px, more than {MAX_PIXELS:,}")
        if mode == "F" or mode.startswith("I"):
            raise ValueError(f"pixels of mode {mode}, expected 8 bits a channel")
        pixels = decode_tile(image)
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if size == (px, px) and mode == "RGB" and form in ("PNG", "JPEG"):
        return image, px
    return _shrunk(pixels, px), min(size)


def short_side(path: Path) -> int | None:
    """From the header alone; None where it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as header:
            return min(header.size)
    except Exception:  # noqa: BLE001 (as above: a broken file is named when it is read)
        return None


def _shrunk(pixels: UInt8[np.ndarray, "H W 3"], px: int) -> bytes:
    tile = np.ascontiguousarray(Preprocess(px, px, "bilinear")(pixels))
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "PNG")
    return buffer.getvalue()
