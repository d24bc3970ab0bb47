"""Slides that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, tiled pyramidal TIFF, ...

OpenSlide returns premultiplied RGBA; unscanned areas are transparent there and white
here. Threads may share its handle.

It draws each block as often as a region touches it and it is no longer in its cache.
Levels of SVS and plain tiled TIFF are therefore read from the file's blocks, where
these are shown to give OpenSlide's pixels; a level's `reader` says which it is.
"""

import contextlib
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pathjax.optional_deps import need
from pathjax.wsi.base import Level, SlideError
from pathjax.wsi.blocks import Blocks, check_blocks
from pathjax.wsi.scale import trusted_mpp
from pathjax.wsi.tiff_tags import TAG_UNITS, Stated, check_rgb, stated_mpp

OPENSLIDE_UNITS = {"inch": TAG_UNITS[2], "centimeter": TAG_UNITS[3]}
# Vendors, as OpenSlide names them, whose levels are pages of adjoining tiles.
PLAIN_VENDORS = ("aperio", "generic-tiff")
PROBED_PX = 512  # of a block that is compared with OpenSlide's
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
        self.levels = tuple(
            Level(*size, float(factor), "OpenSlide") for size, factor in sizes
        )
        self._blocks: Any = None
        self._pages: dict[int, int] = {}  # level to its page in blocks
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
        if properties.get("openslide.vendor") in PLAIN_VENDORS:
            self._find_blocks()

    def read(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        if (corner := self._corner(x, y, level)) is not None:
            return self._blocks.window(self._pages[level], *corner, width, height)
        return self._draw(x, y, level, width, height)

    def expect(self, level: int, regions: Iterable[tuple[int, int, int, int]]) -> None:
        if level in self._pages:
            corners = ((self._corner(x, y, level), w, h) for x, y, w, h in regions)
            places = ((*at, w, h) for at, w, h in corners if at is not None)
            self._blocks.expect(self._pages[level], places)

    def _corner(self, x: int, y: int, level: int) -> tuple[int, int] | None:
        """The corner in the level's pixels, None where the blocks cannot be used."""
        factor = self.levels[level].downsample
        if level not in self._pages or x % factor or y % factor:
            return None
        return int(x / factor), int(y / factor)

    def _draw(
        self, x: int, y: int, level: int, width: int, height: int
    ) -> UInt8[np.ndarray, "H W 3"]:
        """A region by OpenSlide."""
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

    def _find_blocks(self) -> None:
        """Finds the levels to read from the file's blocks; names the reader of each."""
        levels = []
        with contextlib.ExitStack() as stack:
            pages: list[Any] | None = None
            for number, level in enumerate(self.levels):
                # tifffile may raise anything on a damaged file, which is OpenSlide's then.
                try:
                    if pages is None:
                        file = need("tifffile", "wsi").TiffFile(self._path)
                        stack.enter_context(file)
                        pages = [page for page in file.pages if page.is_tiled]
                        self._blocks = Blocks(self._path, pages)
                    self._pages[number] = self._page_of(number, pages)
                    reader = "tifffile" + ", OpenSlide between pixels" * (number > 0)
                except Exception as error:  # noqa: BLE001
                    reader = f"OpenSlide ({error})"
                levels.append(dataclasses.replace(level, reader=reader))
        self.levels = tuple(levels)

    def _page_of(self, number: int, pages: list[Any]) -> int:
        """The page of a level.

        Raises:
          SlideError: Its blocks cannot be used; the message says why.
        """
        level = self.levels[number]
        size = (level.width, level.height)
        same = [
            place
            for place, page in enumerate(pages)
            if (page.imagewidth, page.imagelength) == size
        ]
        if len(same) != 1:
            raise SlideError(f"{len(same)} tiled pages of the level's size")
        if level.downsample % 1:
            raise SlideError(f"tiles lie between pixels, at 1 in {level.downsample:g}")
        page = pages[same[0]]
        check_blocks(self._path, page)
        finer = [one for one in pages if one.imagewidth >= level.width]
        if number and any(0 in one.databytecounts for one in finer):
            # OpenSlide draws them from the level before.
            raise SlideError("blocks are missing")
        # The block with most to decode, or its corner.
        row, column = divmod(
            int(np.argmax(page.databytecounts)), -(-page.imagewidth // page.tilewidth)
        )
        left, top = column * page.tilewidth, row * page.tilelength
        shape = (min(page.tilewidth, PROBED_PX), min(page.tilelength, PROBED_PX))
        own = self._blocks.window(same[0], left, top, *shape)
        factor = int(level.downsample)
        drawn = self._draw(left * factor, top * factor, number, *shape)
        apart = int(np.abs(own.astype(np.int16) - drawn).max())
        if apart > 1:
            raise SlideError(f"tifffile's pixels differ by {apart} grey levels")
        return same[0]

    def close(self) -> None:
        self._slide.close()
        if self._blocks is not None:
            self._blocks.close()


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
