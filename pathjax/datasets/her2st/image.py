"""A section's image: decoding within a stated limit, its background, its tissue.

A section is decoded once, whole, to uint8: about 275 MB for upstream's 92 megapixels.
Nothing here knows spots or tiles.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.ndimage
import simplejpeg
from jaxtyping import Bool, UInt8
from PIL import Image

from pathjax.data.images import JPEG_MAGIC
from pathjax.datasets.her2st.layout import SectionError

# Upstream's images have 92 megapixels, just above Pillow's limit for images that might
# be decompression bombs. 250 allows a finer scan of the same array and bounds memory
# to 0.75 GB (1 GB through Pillow). The limit is ours and for these files only.
MAX_PIXELS = 250_000_000

BLOCK_UM = 16.0  # about one and a half nuclei: a block of tissue holds an edge
# Brightest value that counts as blanked to black; haematoxylin leaves more than this.
BLACK = 2
RIM = 3  # pixels that the blanking bleeds into what is left of the picture
SQUARE = np.ones((3, 3), bool)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height, from the file's header.

    Raises:
      SectionError: no JPEG or PNG, or more than MAX_PIXELS.
    """
    return _size(path, _bytes(path))


def read_image(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """Decodes a whole JPEG or PNG to RGB.

    Raises:
      SectionError: broken or truncated, of another format, or above MAX_PIXELS.
    """
    data = _bytes(path)
    _size(path, data)
    try:
        if data[:3] == JPEG_MAGIC:
            return simplejpeg.decode_jpeg(data, "RGB")
        with _pillow_limit(), Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        raise SectionError(
            f"{path} is broken ({error}): download or unpack it again"
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SectionError(f"{path} cannot be read: {error}") from error


def _size(path: Path, data: bytes) -> tuple[int, int]:
    try:
        if data[:3] == JPEG_MAGIC:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
        else:
            with _pillow_limit(), Image.open(io.BytesIO(data), formats=["PNG"]) as one:
                width, height = one.size
    except (OSError, ValueError, SyntaxError) as error:
        raise SectionError(
            f"{path} is no JPEG or PNG that can be read ({error}): download or unpack "
            "it again"
        ) from error
    if width * height > MAX_PIXELS:
        raise SectionError(
            f"{path} has {width} x {height} pixels, more than the {MAX_PIXELS:,} "
            "allowed: reduce it"
        )
    return width, height


@contextlib.contextmanager
def _pillow_limit() -> Iterator[None]:
    """Pillow's bomb limit at MAX_PIXELS, and an error instead of its warning."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                yield
            except (
                Image.DecompressionBombWarning,
                Image.DecompressionBombError,
            ) as error:
                raise ValueError(str(error)) from error
    finally:
        Image.MAX_IMAGE_PIXELS = before


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


def tissue_mask(
    image: UInt8[np.ndarray, "H W 3"], block: int
) -> Bool[np.ndarray, "h w"]:
    """True for blocks of `block` by `block` pixels that hold tissue.

    By local contrast: the standard deviation of green (where both stains absorb) in a
    block, Otsu's threshold on its logarithm. Colour would be the usual choice, but
    upstream's sections lie in smears of bled eosin as saturated as tissue, and B4's
    fat is as pale as glass; both are told apart by texture.
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
    """Pixels that BLOCK_UM takes, at least 4: fewer tell no texture."""
    return max(4, round(BLOCK_UM / mpp))


def background_colour(
    image: UInt8[np.ndarray, "H W 3"], block: int
) -> UInt8[np.ndarray, "3"]:
    """The median colour of a section outside its tissue; white where all is tissue.

    Pixels blanked to black are no background.
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

    Specks are no blanking, so only areas wider than 5 pixels count; the rim, where
    reducing the image mixed black into the picture, counts too.
    """
    core = scipy.ndimage.binary_erosion(
        image.max(axis=-1) <= BLACK, SQUARE, iterations=2, border_value=1
    )
    return scipy.ndimage.binary_dilation(core, SQUARE, iterations=2 + RIM)
