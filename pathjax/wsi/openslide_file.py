"""Slides that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, tiled pyramidal TIFF, ...

OpenSlide returns premultiplied RGBA; unscanned areas are transparent there and white
here. Threads may share its handle.
"""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from pathjax.optional_deps import need
from pathjax.wsi.base import Level, SlideError

MPP_KEYS = ("openslide.mpp-x", "openslide.mpp-y")
BOUNDS_KEYS = tuple(f"openslide.bounds-{key}" for key in ("x", "y", "width", "height"))


class OpenSlideFile:
    """A `Slide` by OpenSlide.

    Raises:
      SlideError: OpenSlide cannot open it.
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
        self.mpp, self.mpp_source = _mpp(properties)

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


def _mpp(properties) -> tuple[tuple[float, float] | None, str]:
    """Micrometres per pixel and their source; the objective's power does not count."""
    try:
        values = tuple(float(properties.get(key)) for key in MPP_KEYS)
    except (TypeError, ValueError):
        power = properties.get("openslide.objective-power")
        hint = f", only an objective of {power}" if power else ""
        return None, f"no {MPP_KEYS[0]} in its metadata{hint}"
    return values, MPP_KEYS[0].removesuffix("-x")
