"""Slides that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, tiled pyramidal TIFF, ...

OpenSlide returns premultiplied RGBA; unscanned areas are transparent there and white
here. Threads may share its handle.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pathjax.optional_deps import need
from pathjax.wsi.base import Level, SlideError
from pathjax.wsi.scale import trusted_mpp
from pathjax.wsi.tiff_tags import TAG_UNITS, Stated, check_rgb, stated_mpp

OPENSLIDE_UNITS = {"inch": TAG_UNITS[2], "centimeter": TAG_UNITS[3]}
BOUNDS_KEYS = tuple(f"openslide.bounds-{key}" for key in ("x", "y", "width", "height"))


class OpenSlideFile:
    """A `Slide` by OpenSlide.

    Raises:
      SlideError: OpenSlide cannot open it, or it is a TIFF that is not RGB.
    """

    def __init__(self, path: Path):
        self._path, self._library = path, need("openslide", "wsi")
        try:
            self._slide = self._library.OpenSlide(path)
        except self._library.OpenSlideError as error:
            raise SlideError(f"OpenSlide cannot open {path} ({error})") from error
        sizes = zip(
            self._slide.level_dimensions, self._slide.level_downsamples, strict=True
        )
        self.levels = tuple(Level(*size, float(factor)) for size, factor in sizes)
        properties = self._slide.properties
        full = (0, 0, self.levels[0].width, self.levels[0].height)
        self.bounds = tuple(
            int(properties.get(key, value))
            for key, value in zip(BOUNDS_KEYS, full, strict=True)
        )
        power = properties.get("openslide.objective-power")
        missing = "no openslide.mpp-x in its metadata"
        missing += f", only an objective of {power}" if power else ""
        try:
            stated = _stated_mpp(path, properties)
        except Exception as error:
            self.close()
            if isinstance(error, SlideError):
                raise
            # A damaged header can make tifffile raise anything.
            raise SlideError(f"tifffile cannot read {path} ({error})") from error
        self.mpp, self.mpp_source = trusted_mpp(stated, missing)

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        try:
            region = self._slide.read_region((x, y), level, (width, height))
        except self._library.OpenSlideError as error:
            raise SlideError(
                f"{self._path} is broken near x {x}, y {y}, level {level} ({error}): "
                "copy or download it again"
            ) from error
        pixels = np.asarray(region)
        # Opaque everywhere, tested on four bytes at once: several times as fast as
        # alpha's minimum, and Pillow drops alpha faster than NumPy copies the rest.
        if np.bitwise_and.reduce(pixels.view("<u4"), axis=None) >> 24 == 255:
            return np.asarray(region.convert("RGB"))
        # Over white, rounded, so that opaque pixels stay as they are.
        alpha = pixels[..., 3:].astype(np.uint16)
        over = pixels[..., :3] * alpha + 255 * (255 - alpha)
        return ((over + 127) // 255).astype(np.uint8)

    def close(self) -> None:
        self._slide.close()


def _stated_mpp(path: Path, properties) -> Stated:
    """Micrometres per pixel by source; the objective's power is none.

    Raises:
      SlideError: A TIFF of no known scanner that is not RGB.
    """
    vendor, stated = properties.get("openslide.vendor"), {}
    own = _pair(properties, "openslide.mpp-x", "openslide.mpp-y")
    if vendor == "generic-tiff":
        # OpenSlide looks at neither the kind of pixels nor OME's XML.
        with need("tifffile", "wsi").TiffFile(path) as file:
            check_rgb(path, file.pages[0])
            stated = stated_mpp(file, file.pages[0])
        stated.pop("tiff.XResolution", None)  # what OpenSlide's own is from
    if own:
        stated["openslide.mpp"] = own
    tags = _pair(properties, "tiff.XResolution", "tiff.YResolution")
    unit = OPENSLIDE_UNITS.get(properties.get("tiff.ResolutionUnit"))
    if vendor == "aperio" and own and tags and unit and all(tags):
        stated["tiff.XResolution"] = (unit / tags[0], unit / tags[1])
    return stated


def _pair(properties, *keys: str) -> tuple[float, float] | None:
    try:
        x, y = (float(properties.get(key)) for key in keys)
    except (TypeError, ValueError):
        return None
    return x, y
