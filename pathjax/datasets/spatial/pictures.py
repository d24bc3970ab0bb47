"""The reduced pictures inside an AnnData, as scanpy and squidpy keep them.

They are used only when asked for by name, and tell the size of the full image.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from jaxtyping import UInt8

from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.wsi.base import SlideError


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
        self._check_size(chosen, image.size)
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

    def _check_size(self, chosen: str, size: tuple[int, int]) -> None:
        """Refuses a file of another size than the reduced pictures say."""
        for kind, pixels in self.images.items():
            factor = self.factor(kind)
            if not factor:
                continue
            height, width = np.shape(pixels)[:2]
            full = (width / factor, height / factor)
            if max(abs(a - b) for a, b in zip(size, full, strict=True)) > 1.5 / factor:
                same = " (it is as large as that)" if size == (width, height) else ""
                raise SpatialError(
                    f"{chosen} is {size[0]} x {size[1]} px, but by {kind}{same} and its "
                    f"scale factor the positions are in an image of about "
                    f"{full[0]:.0f} x {full[1]:.0f} px"
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
