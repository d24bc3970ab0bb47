"""Reduced pictures beside the full image: those inside an AnnData, and what all tell.

They are used only when asked for by name, and tell the size of the full image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import numpy as np
from jaxtyping import UInt8

from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.wsi.base import SlideError


class Reduced(NamedTuple):
    """Width and height of a reduced picture, and its pixels per pixel of the full one."""

    size: tuple[int, int]
    factor: float

    @property
    def full(self) -> str:
        """The size of the full image, in words."""
        return " x ".join(f"{side / self.factor:.0f}" for side in self.size)

    def fits(self, size: tuple[int, int]) -> bool:
        """Whether the full image can have this size."""
        # Half a pixel of rounding, and as much for the factor's own.
        return all(
            abs(own / self.factor - side) <= 1.5 / self.factor
            for own, side in zip(self.size, size, strict=True)
        )


def require_full_size(
    path: Path | str, size: tuple[int, int], reduced: Mapping[str, Reduced]
) -> None:
    """Refuses an image of another size than the reduced pictures and factors say.

    Raises:
      SpatialError: Says which picture, and what may be wrong.
    """
    for kind, picture in reduced.items():
        if picture.fits(size):
            continue
        hint = "give the image that the positions are in"
        as_large = [name for name, one in reduced.items() if one.size == size]
        if as_large:
            hint = (
                f"it is as large as {as_large[0]}, so {hint}, or --image {as_large[0]}"
            )
        elif picture.fits(size[::-1]):
            hint = f"it may be turned by 90 degrees: {hint}"
        raise SpatialError(
            f"{path} is {size[0]} x {size[1]} px, but by {kind} and its scale factor the "
            f"positions are in an image of about {picture.full} px: {hint}"
        )


class Pictures:
    """The reduced pictures of an AnnData and their scale factors."""

    def __init__(
        self, images: Mapping[str, Any], factors: Mapping[str, float], where: str
    ):
        self.images = images
        self.factors = factors
        self.where = where

    @classmethod
    def of(cls, adata: anndata.AnnData, where: str) -> "Pictures":
        """Those of `uns["spatial"]`.

        Raises:
          SpatialError: There are several libraries.
        """
        libraries = adata.uns.get("spatial", {})
        if not isinstance(libraries, Mapping) or not libraries:
            return cls({}, {}, where)
        if len(libraries) > 1:
            raise SpatialError(
                f"{where} holds {len(libraries)} libraries ({', '.join(libraries)}): "
                "write one AnnData for each section"
            )
        (library,) = libraries.values()
        return cls(library.get("images", {}), library.get("scalefactors", {}), where)

    def factor(self, kind: str) -> float | None:
        value = self.factors.get(f"tissue_{kind}_scalef")
        return float(value) if value else None

    @property
    def reduced(self) -> dict[str, Reduced]:
        """Those that have a scale factor, by name."""
        return {
            kind: Reduced(np.shape(pixels)[1::-1], factor)
            for kind, pixels in self.images.items()
            if (factor := self.factor(kind))
        }

    def image(
        self, chosen: str | None, mpp: Mapping[str, float]
    ) -> tuple[ImageSource, float]:
        """The image to use, and its pixels per pixel of the positions' frame.

        Raises:
          SpatialError: None was given and the AnnData has reduced ones only.
        """
        if chosen in self.images:
            factor = self.factor(chosen)
            if factor is None:
                raise SpatialError(f"{self.where} lacks tissue_{chosen}_scalef")
            try:
                pixels = as_rgb(np.asarray(self.images[chosen]))
                return ImageSource.of_array(
                    pixels, f"{chosen} image of AnnData"
                ), factor
            except SlideError as error:
                raise SpatialError(f"{self.where}: {chosen}: {error}") from error
        if chosen in ("hires", "lowres"):
            raise SpatialError(
                f"{self.where} has no picture {chosen}: it has "
                f"{', '.join(self.images) or 'none'}"
            )
        if chosen is None:
            raise SpatialError(self._missing(mpp))
        image = ImageSource.open(Path(chosen))
        require_full_size(chosen, image.size, self.reduced)
        return image, 1.0

    def _missing(self, mpp: Mapping[str, float]) -> str:
        described = []
        for kind, pixels in self.images.items():
            height, width = np.shape(pixels)[:2]
            factor = self.factor(kind)
            known = mpp and factor
            scale = f", {next(iter(mpp.values())) / factor:.3g} um/px" if known else ""
            described.append(f"{kind} ({width} x {height} px{scale})")
        has = f"; it has only {' and '.join(described)}" if described else ""
        use = f", or use a reduced one by --image {next(iter(self.images), '')}"
        return (
            f"{self.where} has no full-resolution image{has}: give the image that the "
            "positions are in by --image or in the manifest's column image"
            + (use if described else "")
        )


def as_rgb(pixels: np.ndarray) -> UInt8[np.ndarray, "H W 3"]:
    """A picture as scanpy keeps it (0 to 1, perhaps with alpha) as 8-bit RGB.

    Raises:
      SlideError: It is no colour picture.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise SlideError(f"expected [height, width, 3], got shape {pixels.shape}")
    if pixels.dtype == np.uint8:
        return on_white(pixels)
    if pixels.dtype.kind != "f" or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise SlideError(
            f"expected uint8, or numbers from 0 to 1, got {pixels.dtype} up to "
            f"{pixels.max()}"
        )
    return on_white((pixels * 255).round().astype(np.uint8))


def on_white(pixels: Any) -> Any:
    """`[H, W, 3]` of `[H, W, 3 or 4]`: what is transparent was not scanned, so white.

    Also for lazy arrays, which stay lazy.
    """
    if pixels.shape[2] == 3:
        return pixels
    alpha = pixels[..., 3:].astype(np.float32) / 255
    colour = pixels[..., :3] * alpha + 255 * (1 - alpha)
    return colour.round().astype(np.uint8)
