"""Tile coordinates found by TRIDENT or CLAM: SLIDE.h5 -> places, checked.

    TRIDENT  coords (N, 2), attributes patch_size, patch_size_level0, overlap, ...
    CLAM     coords (N, 2), attributes patch_size, patch_level, downsample, ...

Both hold x, y of top left corners in level-0 pixels (mahmoodlab/TRIDENT
trident/IO.py, mahmoodlab/CLAM wsi_core/WholeSlideImage.py). A tile is read at the size
that the file states; that has to fit the requested mpp.
"""

import dataclasses
from pathlib import Path

import numpy as np
from jaxtyping import Int

from pathjax.wsi.base import Slide, SlideError

# TRIDENT and CLAM count in nominal magnifications ("20x is 0.5"), scanners in mpp.
MAX_MISFIT = 0.10
ENDINGS = (".h5", "_patches.h5")


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """Places of a slide's tiles and their side, in level-0 pixels."""

    places: Int[np.ndarray, "n 2"]
    side: float


def find_coordinates(folder: Path, slide_id: str, slide: str | Path) -> Path:
    """The file of a slide: NAME.h5 or NAME_patches.h5.

    NAME is the slide's id, or its file name without the ending, as TRIDENT and CLAM
    write it, spaces included.

    Raises:
      SlideError: There is none, or id and file name each have one.
    """
    names, found = dict.fromkeys([slide_id, Path(slide).stem]), []
    try:
        for name in names:
            paths = [folder / f"{name}{ending}" for ending in ENDINGS]
            found += [path for path in paths if path.is_file()][:1]
    except OSError as error:
        raise SlideError(f"no coordinates: {folder}: {error.strerror}") from error
    if len(found) == 1:
        return found[0]
    if found:
        raise SlideError(
            f"{folder} has {found[0].name} and {found[1].name} for this slide: keep one"
        )
    names_tried = " nor ".join(
        f"{name}{ending}" for name in names for ending in ENDINGS
    )
    raise SlideError(f"no coordinates: {folder} has neither {names_tried}")


def read_coordinates(path: Path) -> Coordinates:
    """Reads a file of TRIDENT or CLAM, which its attributes tell apart.

    Raises:
      SlideError: It is neither.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            coords = file["coords"]
            places, attributes = coords[:], dict(coords.attrs)
        side = _side(attributes)
    except (OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise SlideError(
            f"{path} is not a file of coordinates ({error}); expected TRIDENT's "
            "(coords with patch_size_level0) or CLAM's (coords with patch_size, "
            "downsample)"
        ) from error
    if places.ndim != 2 or places.shape[1] != 2 or places.dtype.kind not in "iu":
        raise SlideError(
            f"{path}: expected coords of integers of shape (N, 2), got {places.dtype} "
            f"of shape {places.shape}"
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
    path: Path, coordinates: Coordinates, slide: Slide, expected_side: float
) -> None:
    """Refuses coordinates of `path` that do not fit the slide or the request.

    Args:
      path: Named in the message.
      coordinates: What the file says.
      slide: The slide that they belong to.
      expected_side: Side of a tile by the requested mpp and size, level-0 pixels.

    Raises:
      SlideError: No tile, tiles beyond the slide, repeated, or of another size.
    """
    width, height = slide.levels[0].width, slide.levels[0].height
    places, side = coordinates.places, coordinates.side
    if not len(places):
        raise SlideError(f"{path} has no coordinates: no tissue was found")
    outside = (places < 0).any(1) | (places + side > (width, height)).any(1)
    if outside.any():
        x, y = places[outside][0].tolist()
        raise SlideError(
            f"{path}: {int(outside.sum())} of {len(places)} tiles are beyond the slide "
            f"of {width} x {height} px, first at {x}, {y} with side {side:g}: use the "
            "file made for this copy of the slide"
        )
    repeated = len(places) - len(np.unique(places, axis=0))
    if repeated:
        raise SlideError(f"{path}: {repeated} tiles are listed twice")
    if abs(side / expected_side - 1) > MAX_MISFIT:
        raise SlideError(
            f"{path}: expected tiles of {expected_side:.1f} level-0 px by --mpp and "
            f"--tile-px, got {side:g}: ask for what the coordinates were made for"
        )
