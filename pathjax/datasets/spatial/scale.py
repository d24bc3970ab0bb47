"""Micrometres per pixel of a sample: evidence is compared, not believed."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.spatial
from jaxtyping import Float, Int

from pathjax.datasets.spatial.sample import SpatialError
from pathjax.wsi.scale import MAX_DISAGREEMENT, PLAUSIBLE_MPP

GIVEN = {"the manifest", "--mpp"}  # evidence by the user, which overrules all other
MIN_PAIRS = 6  # neighbours that a median is taken of
MIN_SPOTS = 6  # that an array is fitted to
MAX_RMS = 0.25  # distance of spots from the fitted array, in steps along a row


@dataclasses.dataclass(frozen=True)
class ArrayFit:
    """Pixels of one step of an array: pixel = origin + column * right + row * down."""

    right: Float[np.ndarray, "2"]
    down: Float[np.ndarray, "2"]
    origin: Float[np.ndarray, "2"]

    def mpp(self, column_um: float) -> float:
        """Micrometres per pixel, from the distance of two columns."""
        return float(column_um / np.linalg.norm(self.right))

    def at(self, array: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Pixels (x, y) of array positions (row, column)."""
        return self.origin + array[:, 1:] * self.right + array[:, :1] * self.down

    def warnings(self, column_um: float, row_um: float, hint: str) -> list[str]:
        """What is odd about the array in the image."""
        found = []
        across, along = self.mpp(column_um), row_um / np.linalg.norm(self.down)
        if abs(across - along) > MAX_DISAGREEMENT * min(across, along):
            found.append(
                f"columns of the array give {across:.4g} um/px, rows {along:.4g}: the "
                "image may be stretched"
            )
        if np.linalg.det(np.stack([self.right, self.down])) < 0:
            found.append(
                f"the array is mirrored in the image: x and y may be swapped{hint}"
            )
        return found


def fit_array(
    name: str, array: Int[np.ndarray, "n 2"], xy: Float[np.ndarray, "n 2"]
) -> ArrayFit | None:
    """Fits an array (row, column) to pixels; None with too few spots.

    Raises:
      SpatialError: The spots do not lie on an array.
    """
    design = np.column_stack([array[:, ::-1], np.ones(len(array))]).astype(np.float64)
    if len(array) < MIN_SPOTS or np.linalg.matrix_rank(design.T @ design) < 3:
        return None
    steps, *_ = np.linalg.lstsq(design, xy, rcond=None)
    off = np.sqrt(np.mean(np.sum((design @ steps - xy) ** 2, axis=1)))
    step = np.linalg.norm(steps[0])
    if not abs(np.linalg.det(steps[:2])) > 0:
        raise SpatialError(
            f"sample {name}: the spots' pixels are all at one place or on one line: the "
            "positions are damaged"
        )
    if not off <= MAX_RMS * step:
        raise SpatialError(
            f"sample {name}: the spots' pixels are {off:.1f} px (root mean square) off "
            f"the array that their rows and columns make, of {step:.1f} px a step: the "
            "positions are of other barcodes, or damaged"
        )
    return ArrayFit(*steps)


def median_step(
    array: Int[np.ndarray, "n 2"], xy: Float[np.ndarray, "n 2"], step: tuple[int, int]
) -> Float[np.ndarray, "2"] | None:
    """Median step in pixels between spots that are `step` apart on the array.

    None where fewer than MIN_PAIRS spots are.
    """
    place = {tuple(at): i for i, at in enumerate(array.tolist())}
    pairs = [
        (i, place[to])
        for (row, column), i in place.items()
        if (to := (row + step[0], column + step[1])) in place
    ]
    if len(pairs) < MIN_PAIRS:
        return None
    first, second = np.array(pairs).T
    return np.median(xy[second] - xy[first], axis=0)


def agreed_mpp(name: str, evidence: Mapping[str, float]) -> float:
    """The first of the evidence, if the others agree with it.

    Raises:
      SpatialError: There is none, one is implausible, or two are more than 5 % apart.
    """
    if not evidence:
        raise SpatialError(
            f"sample {name}: micrometres per pixel unknown: give them by --mpp or "
            "in the manifest's column mpp"
        )
    low, high = PLAUSIBLE_MPP
    for source, value in evidence.items():
        if not low <= value <= high:
            raise SpatialError(
                f"sample {name}: {source} gives {value:.4g} um/px, expected {low:g} to "
                f"{high:g}"
            )
    smallest = min(evidence, key=evidence.__getitem__)
    largest = max(evidence, key=evidence.__getitem__)
    if evidence[largest] > evidence[smallest] * (1 + MAX_DISAGREEMENT):
        raise SpatialError(
            f"sample {name}: {smallest} gives {evidence[smallest]:.4g} um/px, {largest} "
            f"{evidence[largest]:.4g}: the image is not the one that the positions "
            "are in, or was resized; --mpp or the manifest's column mpp decides"
        )
    return next(iter(evidence.values()))


def neighbour_px(xy: Float[np.ndarray, "n 2"]) -> float:
    """Median distance in pixels to the nearest other spot.

    Raises:
      SpatialError: There are fewer than two places.
    """
    if len(np.unique(xy, axis=0)) < 2:
        raise SpatialError(
            "expected spots at two places or more to measure their pitch"
        )
    distance, _ = scipy.spatial.cKDTree(xy).query(xy, k=2)
    return float(np.median(distance[:, 1]))
