"""A large slide to time tiling on: real tissue, repeated, as a scanner's pyramid.

Distinct JPEG blocks are encoded once and written many times: that saves encoding, not
reading.
"""

import io
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import UInt8
from PIL import Image

from pathjax.bench.options import BenchError
from pathjax.wsi.slide import open_slide

BLOCK = 256
SIDE = 2048  # of the region that is repeated: real tissue, 1 mm at 0.5 um
DOWNSAMPLES = (1, 4, 16, 64)
QUALITY = 85  # about what scanners write


def tissue(data: str = "") -> UInt8[np.ndarray, "2048 2048 3"]:
    """The region, of the slide in wsi/ of `data` or of PATHJAX_TEST_DATA.

    Raises:
      BenchError: no such file.
    """
    folder = Path(data or os.environ.get("PATHJAX_TEST_DATA", "."))
    path = folder / "wsi" / "CMU-1-Small-Region.svs"
    if not path.is_file():
        raise BenchError(
            f"no file {path}: name the folder with wsi/CMU-1-Small-Region.svs "
            "(OpenSlide's test data) by --config.data=DIR or PATHJAX_TEST_DATA"
        )
    return open_slide(path).read(64, 512, 0, SIDE, SIDE)


def make_slide(path: Path, pixels: UInt8[np.ndarray, "s s 3"], side: int) -> Path:
    """Writes a slide of side x side pixels at 0.5 um/px, blocks of 256, 4 levels."""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for down in DOWNSAMPLES:
            small = np.asarray(Image.fromarray(pixels).reduce(down))
            file.write(
                _blocks(small, side // down),
                shape=(side // down, side // down, 3),
                dtype=np.uint8,
                tile=(BLOCK, BLOCK),
                photometric="ycbcr",
                compression="jpeg",
                subsampling=(2, 2),
                resolution=(2e4 / down, 2e4 / down),
                resolutionunit="CENTIMETER",
                subfiletype=int(down > 1),
                metadata=None,
            )
    return path


def _blocks(pixels: np.ndarray, side: int) -> Iterator[bytes]:
    """Encoded blocks of a level, row by row; each distinct one is encoded once."""
    period = max(1, len(pixels) // BLOCK)
    repeats = -(-(period * BLOCK) // len(pixels))
    pixels = np.tile(pixels, (repeats, repeats, 1))
    encoded = [
        [_jpeg(pixels[y : y + BLOCK, x : x + BLOCK]) for x in starts]
        for starts in [range(0, period * BLOCK, BLOCK)]
        for y in range(0, period * BLOCK, BLOCK)
    ]
    across = -(-side // BLOCK)
    for row, column in itertools.product(range(across), range(across)):
        yield encoded[row % period][column % period]


def _jpeg(block: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(block).save(out, "JPEG", quality=QUALITY, subsampling="4:2:0")
    return out.getvalue()
