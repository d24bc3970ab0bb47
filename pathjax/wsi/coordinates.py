"""Tile coordinates that TRIDENT or CLAM found: SLIDE.h5 -> places, checked.

    TRIDENT  coords (N, 2), attributes patch_size, patch_size_level0, overlap, ...
    CLAM     coords (N, 2), attributes patch_size, patch_level, downsample, ...

Both hold x, y of top left corners in level-0 pixels (mahmoodlab/TRIDENT
trident/IO.py, mahmoodlab/CLAM wsi_core/WholeSlideImage.py). A tile is read as large as
the file says; that has to fit the mpp asked for.
"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int

from pathjax.wsi.slide import Slide, SlideError

# TRIDENT and CLAM count in nominal magnifications ("20x is 0.5"), scanners in mpp.
MAX_MISFIT = 0.10
ENDINGS = (".h5", "_patches.h5")


class CoordinatesError(SlideError):
    """A file of coordinates is missing, broken, or does not fit slide or request."""


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """Places of a slide's tiles and their side, in level-0 pixels."""

    places: Int[np.ndarray, "n 2"]
    side: float


def find_coordinates(folder: Path, slide_id: str) -> Path:
    """The file of a slide: SLIDE.h5 or SLIDE_patches.h5.

    Raises:
      CoordinatesError: there is neither.
    """
    for ending in ENDINGS:
        path = folder / f"{slide_id}{ending}"
        if path.is_file():
            return path
    raise CoordinatesError(
        f"no coordinates: {folder} has neither {slide_id}.h5 nor {slide_id}_patches.h5"
    )


def read_coordinates(path: Path) -> Coordinates:
    """Reads a file of TRIDENT or CLAM, told apart by its attributes.

    Raises:
      CoordinatesError: it is neither's.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            coords = file["coords"]
            places, attributes = coords[:], dict(coords.attrs)
        side = _side(attributes)
    except (OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise CoordinatesError(
            f"{path} is no file of coordinates ({error}); wanted TRIDENT's (coords "
            "with patch_size_level0) or CLAM's (coords with patch_size, downsample)"
        ) from error
    if places.ndim != 2 or places.shape[1] != 2 or places.dtype.kind not in "iu":
        raise CoordinatesError(
            f"{path}: coords are {places.dtype} of shape {places.shape}, wanted whole "
            "numbers of shape (N, 2)"
        )
    return Coordinates(places.astype(np.int64), side)


def _side(attributes: dict) -> float:
    """Side of a tile in level-0 pixels."""
    if "patch_size_level0" in attributes:
        side = float(attributes["patch_size_level0"])
    else:
        # CLAM: level-0 pixels per pixel of patch_level, along x and y.
        factor = float(np.ravel(attributes["downsample"])[0])
        side = float(attributes["patch_size"]) * factor
    if not (np.isfinite(side) and side > 0):
        raise ValueError(f"tiles of {side} level-0 pixels")
    return side


def check_coordinates(
    path: Path, found: Coordinates, slide: Slide, wanted_side: float
) -> None:
    """Refuses coordinates that do not fit.

    Args:
      path: named in the message.
      found: what the file says.
      slide: that they are of.
      wanted_side: of a tile in level-0 pixels by the mpp and tile size asked for.

    Raises:
      CoordinatesError: tiles beyond the slide, several at one place, or of another size.
    """
    width, height = slide.levels[0].width, slide.levels[0].height
    places = found.places
    if not len(places):
        raise CoordinatesError(f"{path} has no coordinates: no tissue was found")
    outside = (places < 0).any(1) | (places + found.side > (width, height)).any(1)
    if outside.any():
        x, y = places[outside][0].tolist()
        raise CoordinatesError(
            f"{path}: {int(outside.sum())} of {len(places)} tiles lie beyond the slide "
            f"of {width} x {height} px, first at {x}, {y} with side {found.side:g}: "
            "they are another slide's, or of another copy of it"
        )
    twice = len(places) - len(np.unique(places, axis=0))
    if twice:
        raise CoordinatesError(f"{path}: {twice} tiles stand there twice")
    if abs(found.side / wanted_side - 1) > MAX_MISFIT:
        raise CoordinatesError(
            f"{path}: tiles of {found.side:g} level-0 px, but --mpp and --tile-px ask "
            f"for {wanted_side:.1f}: ask for what the coordinates were made for"
        )
