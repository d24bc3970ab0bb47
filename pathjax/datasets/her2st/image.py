"""A section's image: decoding, background colour and tissue.

A section is decoded once, whole, to uint8: about 275 MB for upstream's 92 megapixels.
Nothing here knows spots.
"""

import io
from pathlib import Path

import numpy as np
import scipy.ndimage
import simplejpeg
from jaxtyping import Bool, UInt8
from PIL import Image

from pathjax.data.images import JPEG_MAGIC, decode_tile
from pathjax.datasets.her2st.source import SectionError
from pathjax.datasets.spatial.survey import otsu

# Upstream's images have 92 megapixels. 250 allows a finer scan of the same array and
# bounds memory to 0.75 GB.
MAX_PIXELS = 250_000_000

BLOCK_UM = 16.0  # about one and a half nuclei: a block of tissue holds an edge
# Brightest value that counts as blanked to black; haematoxylin leaves more than this.
BLACK = 2
RIM = 3  # pixels that the blanking bleeds into what is left of the picture
SQUARE = np.ones((3, 3), bool)
BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header.

    Raises:
      SectionError: no JPEG or PNG, or more than MAX_PIXELS.
    """
    return _open(path)[0]


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Decodes a whole JPEG or PNG to RGB.

    Raises:
      SectionError: broken or truncated, of another format, or above MAX_PIXELS.
    """
    _, data = _open(path)
    try:
        return decode_tile(data)
    except BROKEN as error:
        raise SectionError(
            f"{path} is broken ({error}): download or unpack it again"
        ) from error


def _open(path: Path) -> tuple[tuple[int, int], bytes]:
    """Width and height, and the file's bytes."""
    try:
        data = path.read_bytes()
        if data[:3] == JPEG_MAGIC:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
        else:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as png:
                width, height = png.size
    except BROKEN as error:
        raise SectionError(
            f"{path} is no readable JPEG or PNG ({error}): download or unpack it again"
        ) from error
    if width * height > MAX_PIXELS:
        raise SectionError(
            f"{path} has {width} x {height} pixels, more than the {MAX_PIXELS:,} "
            "allowed: reduce it"
        )
    return (width, height), data


def tissue_mask(
    image: UInt8[np.ndarray, "H W 3"], block: int
) -> Bool[np.ndarray, "h w"]:
    """True for blocks of `block` by `block` pixels that hold tissue.

    By local contrast: the standard deviation of green (where both stains absorb) in a
    block, Otsu's threshold on its logarithm. Colour would be the usual choice, but
    upstream's sections lie in smears of bled eosin as saturated as tissue, and B4's
    fat is as pale as glass; both are recognised by texture.
    """
    rows, columns = image.shape[0] // block, image.shape[1] // block
    spread = np.empty((rows, columns), np.float32)
    for row in range(rows):
        strip = image[row * block : (row + 1) * block, : columns * block, 1]
        strip = strip.reshape(block, columns, block).astype(np.float32)
        spread[row] = strip.std(axis=(0, 2))
    contrast = np.log2(1 + spread)
    return contrast > otsu(contrast)


def block_px(mpp: float) -> int:
    """Pixels that BLOCK_UM takes, at least 4: fewer show no texture."""
    return max(4, round(BLOCK_UM / mpp))


def background_colour(
    image: UInt8[np.ndarray, "H W 3"], block: int
) -> UInt8[np.ndarray, "3"]:
    """The median colour of a section outside its tissue; white where all is tissue.

    Pixels blanked to black are ignored.
    """
    mask = tissue_mask(image, block)
    rows, columns = mask.shape
    centres = image[block // 2 :: block, block // 2 :: block][:rows, :columns]
    glass = centres[~mask & (centres.max(axis=-1) > BLACK)]
    if not len(glass):
        return np.full(3, 255, np.uint8)
    return np.median(glass, axis=0).astype(np.uint8)


def blanked(image: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """True where an image was blanked to black, as the viewer's copies are.

    Only areas wider than 5 pixels count, so that specks do not. The rim counts too:
    there, reducing the image mixed black into the picture.
    """
    core = scipy.ndimage.binary_erosion(
        image.max(axis=-1) <= BLACK, SQUARE, iterations=2, border_value=1
    )
    return scipy.ndimage.binary_dilation(core, SQUARE, iterations=2 + RIM)
