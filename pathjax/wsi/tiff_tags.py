"""What a TIFF says of its pixels: their kind, and micrometres per pixel.

For TIFFs of no known scanner, whichever reader opens them. Reads no pixels.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.optional_deps import need
from pathjax.wsi.base import SlideError

# TIFF 6.0, p. 38: ResolutionUnit 2 is inch, 3 centimetre; micrometres in each.
TAG_UNITS = {2: 25_400.0, 3: 10_000.0}
# OME schema 2016-06, UnitsLength; micrometres in each. Both spellings of mu are in use.
OME_UNITS = dict.fromkeys(("µm", "μm", "um"), 1.0) | {
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "in": 25_400.0,
}
COLOURS = (2, 6)  # PhotometricInterpretation: RGB, YCbCr

Stated = dict[str, tuple[float, float]]


def check_rgb(path: Path, page: Any) -> None:
    """Refuses what is not 8-bit RGB, or RGB with alpha.

    OpenSlide would show the first of several grey pages, and 16 bits as their upper 8.

    Args:
      path: Named in the message.
      page: The first page, by tifffile.

    Raises:
      SlideError: It is grey, deeper than 8 bits or of another colour space.
    """
    colour = page.photometric in COLOURS and page.samplesperpixel in (3, 4)
    if not (colour and page.dtype == np.uint8):
        kind = getattr(page.photometric, "name", page.photometric)
        raise SlideError(
            f"{path}: expected 8-bit RGB, got {page.samplesperpixel} channels of "
            f"{page.dtype} ({kind}): convert it; channels in pages of their own have to "
            "be joined"
        )


def stated_mpp(file: Any, page: Any) -> Stated:
    """x and y in micrometres per pixel by source: OME's XML, then TIFF tags.

    `file` is a `tifffile.TiffFile`, `page` that of level 0. What is absent or in an
    unknown unit is left out.
    """
    stated: Stated = {}
    if file.is_ome:
        pixels = need("tifffile", "wsi").xml2dict(file.ome_metadata)
        pixels = _first(_first(pixels["OME"]["Image"])["Pixels"])
        sizes = [_ome_size(pixels, axis) for axis in "XY"]
        if not any(map(math.isnan, sizes)):
            stated["ome.PhysicalSize"] = (sizes[0], sizes[1])
    unit = TAG_UNITS.get(int(page.tags.valueof("ResolutionUnit", 2)))
    found = [page.tags.valueof(f"{axis}Resolution") for axis in "XY"]
    if unit is not None and all(value and 0 not in value for value in found):
        x, y = (unit * value[1] / value[0] for value in found)
        stated["tiff.XResolution"] = (x, y)
    return stated


def _ome_size(pixels: dict[str, Any], axis: str) -> float:
    unit = OME_UNITS.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")), math.nan)
    return float(pixels.get(f"PhysicalSize{axis}", math.nan)) * unit


def _first(value):
    """The first of a list, or the thing itself: XML has a list only where several."""
    return value[0] if isinstance(value, list) else value
