"""A section's image: decoding, background colour, tissue, and tiles cut from it.

A section is decoded once, whole, to uint8: about 275 MB for upstream's 92 megapixels.
Nothing here knows spots.
"""

import io
import math
from pathlib import Path

import numpy as np
import scipy.ndimage
import simplejpeg
from jaxtyping import Bool, UInt8
from PIL import Image

from pathjax.data.images import JPEG_MAGIC, decode_tile
from pathjax.datasets.her2st.source import SectionError

# Upstream's images have 92 megapixels. 250 allows a finer scan of the same array and
# bounds memory to 0.75 GB.
MAX_PIXELS = 250_000_000

RESAMPLE = Image.Resampling.BICUBIC
SUPPORT = 2.0  # reach of the bicubic filter in source pixels, times the reduction
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


def cut_tile(
    image: UInt8[np.ndarray, "H W 3"],
    centre: tuple[float, float],
    side: float,
    tile_px: int,
    background: UInt8[np.ndarray, "3"],
    blank: Bool[np.ndarray, "H W"] | None = None,
) -> tuple[UInt8[np.ndarray, "P P 3"], float]:
    """Cuts one square tile; returns it and the share of its area that was filled in.

    Resampled once, by Pillow's antialiased bicubic filter over a box with fractional
    edges, so that neither the size nor the centre is rounded to source pixels.

    Args:
      image: The section.
      centre, side: x, y and side in image pixels, may be fractional; pixel i covers i to
        i + 1.
      tile_px: Side of the tile returned.
      background: Fills what is beyond the image's edge and where `blank`.
      blank: True where the image has no picture.
    """
    height, width = image.shape[:2]
    left, top = centre[0] - side / 2, centre[1] - side / 2
    margin = math.ceil(SUPPORT * max(1.0, side / tile_px)) + 1
    x0, y0 = math.floor(left) - margin, math.floor(top) - margin
    x1, y1 = math.ceil(left + side) + margin, math.ceil(top + side) + margin
    window = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
    window[:] = background
    inside = (
        slice(max(y0, 0), max(min(y1, height), 0)),
        slice(max(x0, 0), max(min(x1, width), 0)),
    )
    piece = image[inside]
    if blank is not None:
        piece = np.where(blank[inside][..., None], background, piece)
    filled = np.ones(window.shape[:2], bool)
    if piece.size:
        at_y, at_x = inside[0].start - y0, inside[1].start - x0
        place = (slice(at_y, at_y + piece.shape[0]), slice(at_x, at_x + piece.shape[1]))
        window[place] = piece
        filled[place] = False if blank is None else blank[inside]
    box = (left - x0, top - y0, left - x0 + side, top - y0 + side)
    tile = Image.fromarray(window).resize((tile_px, tile_px), RESAMPLE, box=box)
    core = filled[math.floor(box[1]) : math.ceil(box[3])]
    core = core[:, math.floor(box[0]) : math.ceil(box[2])]
    return np.asarray(tile), float(core.mean())
