"""Micrometres per pixel of a section, from the known distance between its spots.

The array is printed: spots are 200 micrometres apart, in 33 columns and 35 rows (Stahl
et al., Science 353:78 (2016), doi:10.1126/science.aaf2403). So pixel positions against
array positions give the scale, whatever the scanner or a later resizing did. The
image's own metadata is not read: upstream's says 72 dpi, which is not a measurement.
"""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.scale import MIN_PAIRS, median_step

PITCH_UM = 200.0
ARRAY = (33, 35)  # columns, rows


@dataclasses.dataclass(frozen=True)
class Printed:
    """How an array is printed.

    Attributes:
      step_um: Micrometres between columns and between rows.
      stride: Columns (and rows) from a spot to the next one in the same row (column).
    """

    step_um: tuple[float, float]
    stride: int


ST_1K = Printed((PITCH_UM, PITCH_UM), 1)
# 67 columns and 64 rows on the 6.2 x 6.6 mm of the array, every other place printed:
# 141 um to the nearest spot, which is on a diagonal.
ST_2K = Printed((6200.0 / 66, 6600.0 / 63), 2)

# Limits, with the largest values seen in six sections in brackets: difference of the
# pitch along x and y (1.0 %), root mean square distance of spots from the fitted grid
# in pitches (0.09), and distance of a single spot from it (0.30). Micrometres per
# pixel: from a 40x scan to a tenth of the resolution of upstream's images.
MAX_ANISOTROPY = 0.05
MAX_SKEW_DEGREES = 3.0
MAX_RMS = 0.2
MAX_OFF = 0.5
MAX_OFF_SHARE = 0.1
MPP_RANGE = (0.15, 8.0)


def fit_pitch(
    array_xy: Float[np.ndarray, "S 2"],
    pixel_xy: Float[np.ndarray, "S 2"],
    printed: Printed = ST_1K,
) -> tuple[float, Bool[np.ndarray, "S"]]:
    """Fits an affine map of pixel on array positions; spots may be missing.

    Starts from medians over neighbouring spots, which tolerate up to half of the spots
    being wrong, and refines by least squares over spots within MAX_OFF pitches.

    Returns:
      Micrometres per pixel of the frame that the positions are in, and which spots are
      more than MAX_OFF pitches from the grid.

    Raises:
      SpatialError: the pitch cannot be measured, or is implausible; says how.
    """
    steps = []
    for direction in ((printed.stride, 0), (0, printed.stride)):
        step = median_step(array_xy.astype(int), pixel_xy, direction)
        if step is None:
            raise SpatialError(
                f"expected {MIN_PAIRS} pairs of neighbouring spots along "
                f"{'xy'[direction[1] > 0]} to measure the pitch, got fewer"
            )
        steps.append(step / printed.stride)

    def distance(matrix, origin) -> np.ndarray:
        pitch = np.sqrt(abs(np.linalg.det(matrix)))
        if not pitch > 0:
            raise SpatialError(
                f"the spots' steps in pixels {matrix.tolist()} are no grid"
            )
        return np.linalg.norm(pixel_xy - array_xy @ matrix - origin, axis=1) / pitch

    matrix = np.array(steps)  # rows: the step along x, the step along y
    away = distance(matrix, np.median(pixel_xy - array_xy @ matrix, axis=0))
    near = away <= MAX_OFF
    if near.mean() >= 0.5:
        design = np.column_stack([array_xy, np.ones(len(array_xy))])
        solved = np.linalg.lstsq(design[near], pixel_xy[near], rcond=None)[0]
        matrix = solved[:2]
        away = distance(matrix, solved[2])
    off = away > MAX_OFF
    rms = float(np.sqrt(np.mean(away[~off] ** 2))) if (~off).any() else np.inf

    step_x, step_y = np.linalg.norm(matrix, axis=1)
    um_x, um_y = printed.step_um
    mpp = float(np.sqrt(um_x * um_y) / np.sqrt(step_x * step_y))
    cosine = np.clip(matrix[0] @ matrix[1] / (step_x * step_y), -1, 1)
    skew = abs(90.0 - np.degrees(np.arccos(cosine)))
    checks = [
        (
            np.linalg.det(matrix) >= 0,
            "the array is mirrored in the image: pixel_x and pixel_y may be swapped",
        ),
        (
            abs(step_x / step_y * um_y / um_x - 1) <= MAX_ANISOTROPY,
            f"steps are {step_x:.1f} px along x, {step_y:.1f} px along y: not "
            + ("equal" if um_x == um_y else f"as {um_x:.0f} to {um_y:.0f}"),
        ),
        (
            skew <= MAX_SKEW_DEGREES,
            f"x and y are {skew:.1f} degrees from a right angle",
        ),
        (
            rms <= MAX_RMS,
            f"spots are {rms:.2f} pitches off their grid, expected at most {MAX_RMS}",
        ),
        (
            off.mean() <= MAX_OFF_SHARE,
            f"{off.sum()} of {len(off)} spots are over {MAX_OFF} pitches off the grid",
        ),
        (
            MPP_RANGE[0] <= mpp <= MPP_RANGE[1],
            f"{mpp:.3g} micrometres per pixel, expected {MPP_RANGE}",
        ),
    ]
    problems = [text for passed, text in checks if not passed]
    if problems:
        raise SpatialError("bad spot pitch: " + "; ".join(problems))
    return mpp, off


def frame_size(spots: pd.DataFrame) -> tuple[int, int] | None:
    """Width and height of the image that the pixel positions were measured in.

    new_x and new_y are pixel positions in units of array steps, made by dividing the
    frame into 32 by 34 steps: pixel_x = (new_x - 1) * width / 32. The slope therefore
    gives the width to a fraction of a pixel, with no image at hand. That this holds is
    seen in upstream's files (widths come out whole and equal the images' own).

    None if the columns are absent.

    Raises:
      SpatialError: the columns do not follow that rule.
    """
    if not {"new_x", "new_y"} <= set(spots.columns):
        return None
    size = []
    for axis, steps in zip("xy", (ARRAY[0] - 1, ARRAY[1] - 1), strict=True):
        new = spots[f"new_{axis}"].to_numpy() - 1
        pixel = spots[f"pixel_{axis}"].to_numpy()
        slope = float(new @ pixel / (new @ new)) if (new @ new) else 0.0
        # new_x has three decimals: half of the last one is 0.15 px at upstream's pitch.
        if not slope > 0 or np.abs(pixel - slope * new).max() > 0.002 * slope:
            raise SpatialError(
                f"pixel_{axis} is not proportional to new_{axis} - 1, so the frame of "
                "the positions is unknown"
            )
        size.append(round(slope * steps))
    return size[0], size[1]


def image_scale(
    image_size: tuple[int, int], frame: tuple[int, int] | None
) -> tuple[float, float]:
    """Image pixels per pixel of the frame, along x and y; 1.0 without a frame.

    Raises:
      SpatialError: image and frame differ in shape, so they are not the same picture.
    """
    if frame is None:
        return 1.0, 1.0
    scale_x, scale_y = image_size[0] / frame[0], image_size[1] / frame[1]
    # One pixel of rounding in the smaller image, and the frame's own half pixel.
    slack = 1.5 / min(*image_size, *frame)
    if abs(scale_x / scale_y - 1) > slack:
        raise SpatialError(
            f"the image is {image_size[0]} x {image_size[1]} px, but the spots were "
            f"placed on one of {frame[0]} x {frame[1]}: expected the same shape"
        )
    return scale_x, scale_y
