"""Micrometres per pixel of a section, from the known distance between its spots.

The array is printed: spots lie 200 micrometres apart, in 33 columns and 35 rows (Stahl
et al., Science 353:78 (2016), doi:10.1126/science.aaf2403). So pixel positions against
array positions give the scale, whatever the scanner or a later resizing did. Nothing
is read from the image's own metadata: upstream's says 72 dpi, which is no measurement.
"""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float

from pathjax.datasets.her2st.layout import SectionError

PITCH_UM = 200.0
ARRAY = (33, 35)  # columns, rows

MIN_PAIRS = 6  # neighbouring spots per direction that a median is taken of
# Limits, with what the six sections at hand show in brackets: how much the pitch along
# x and y may differ (at most 1.0 %), the root mean square distance of spots from the
# fitted grid in pitches (at most 0.09), and how far a single spot may lie from it (at
# most 0.30). Micrometres per pixel: from a 40x scan to a tenth of upstream's images.
MAX_ANISOTROPY = 0.05
MAX_SKEW_DEGREES = 3.0
MAX_RMS = 0.2
MAX_OFF = 0.5
MAX_OFF_SHARE = 0.1
MPP_RANGE = (0.15, 8.0)


@dataclasses.dataclass(frozen=True)
class Pitch:
    """A grid fitted to spots: pixel = origin + x * step_x + y * step_y.

    Attributes:
      step_x, step_y: length of one array step in pixels.
      rotation: degrees by which the array is turned in the image.
      rms: root mean square distance of the spots from the grid, in pitches.
      off: True for spots that lie more than MAX_OFF pitches from the grid.
      mpp: micrometres per pixel of the frame that the positions are in.
    """

    step_x: float
    step_y: float
    rotation: float
    rms: float
    off: np.ndarray
    mpp: float


def fit_pitch(
    array_xy: Float[np.ndarray, "S 2"], pixel_xy: Float[np.ndarray, "S 2"]
) -> Pitch:
    """Fits an affine map of pixel on array positions; missing spots do no harm.

    Starts from medians over neighbouring spots, which up to half of the spots cannot
    mislead, and refines by least squares over spots within MAX_OFF pitches.

    Args:
      array_xy: whole array positions `[S, 2]`.
      pixel_xy: pixel positions `[S, 2]`.

    Raises:
      SectionError: the pitch cannot be measured, or is implausible; says how.
    """
    place = {tuple(xy): i for i, xy in enumerate(array_xy.astype(int).tolist())}
    steps = []
    for direction in ((1, 0), (0, 1)):
        pairs = [
            (i, place[x + direction[0], y + direction[1]])
            for (x, y), i in place.items()
            if (x + direction[0], y + direction[1]) in place
        ]
        if len(pairs) < MIN_PAIRS:
            raise SectionError(
                f"{len(pairs)} pairs of neighbouring spots along {'xy'[direction[1]]}, "
                f"wanted {MIN_PAIRS} to measure the pitch"
            )
        first, second = np.array(pairs).T
        steps.append(np.median(pixel_xy[second] - pixel_xy[first], axis=0))
    matrix = np.array(steps)  # rows: the step along x, the step along y
    origin = np.median(pixel_xy - array_xy @ matrix, axis=0)
    pitch = np.sqrt(abs(np.linalg.det(matrix)))
    if not pitch > 0:
        raise SectionError(f"the spots' steps in pixels {matrix.tolist()} are no grid")
    distance = np.linalg.norm(pixel_xy - array_xy @ matrix - origin, axis=1) / pitch
    near = distance <= MAX_OFF
    if near.mean() >= 0.5:
        design = np.column_stack([array_xy, np.ones(len(array_xy))])
        solved = np.linalg.lstsq(design[near], pixel_xy[near], rcond=None)[0]
        matrix, origin = solved[:2], solved[2]
        pitch = np.sqrt(abs(np.linalg.det(matrix)))
        distance = np.linalg.norm(pixel_xy - array_xy @ matrix - origin, axis=1) / pitch
    off = distance > MAX_OFF
    rms = float(np.sqrt(np.mean(distance[~off] ** 2))) if (~off).any() else np.inf
    return _plausible(matrix, rms, off)


def _plausible(matrix: np.ndarray, rms: float, off: np.ndarray) -> Pitch:
    """The fit as a Pitch, or all that is wrong with it as one SectionError."""
    step_x, step_y = np.linalg.norm(matrix, axis=1)
    mpp = float(PITCH_UM / np.sqrt(step_x * step_y))
    cosine = np.clip(matrix[0] @ matrix[1] / (step_x * step_y), -1, 1)
    skew = abs(90.0 - np.degrees(np.arccos(cosine)))
    problems = []
    if np.linalg.det(matrix) < 0:
        problems.append(
            "the array is mirrored in the image: pixel_x and pixel_y may be swapped"
        )
    if abs(step_x / step_y - 1) > MAX_ANISOTROPY:
        problems.append(
            f"a step is {step_x:.1f} px along x and {step_y:.1f} px along y, wanted "
            f"equal within {MAX_ANISOTROPY:.0%}"
        )
    if skew > MAX_SKEW_DEGREES:
        problems.append(f"x and y are {skew:.1f} degrees from a right angle")
    if rms > MAX_RMS:
        problems.append(
            f"spots lie {rms:.2f} pitches off their grid, wanted at most {MAX_RMS}"
        )
    if off.mean() > MAX_OFF_SHARE:
        problems.append(
            f"{int(off.sum())} of {len(off)} spots lie more than {MAX_OFF} pitches "
            f"off the grid, wanted at most {MAX_OFF_SHARE:.0%}"
        )
    if not MPP_RANGE[0] <= mpp <= MPP_RANGE[1]:
        problems.append(
            f"{mpp:.3g} micrometres per pixel, wanted {MPP_RANGE[0]} to {MPP_RANGE[1]}"
        )
    if problems:
        raise SectionError("bad spot pitch: " + "; ".join(problems))
    rotation = float(np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0])))
    return Pitch(float(step_x), float(step_y), rotation, rms, off, mpp)


def frame_size(spots: pd.DataFrame) -> tuple[int, int] | None:
    """Width and height of the image that the pixel positions were measured in.

    new_x and new_y are pixel positions in units of array steps, made by dividing the
    frame into 32 by 34 steps: pixel_x = (new_x - 1) * width / 32. The slope therefore
    gives the width to a fraction of a pixel, with no image at hand. That this holds is
    seen in upstream's files (widths come out whole and equal the images' own).

    Args:
      spots: from `read_spots`.

    Returns:
      The size, or None where the columns are absent.

    Raises:
      SectionError: the columns do not obey that rule.
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
            raise SectionError(
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
      SectionError: image and frame have another shape: they are not the same picture.
    """
    if frame is None:
        return 1.0, 1.0
    scale_x, scale_y = image_size[0] / frame[0], image_size[1] / frame[1]
    # One pixel of rounding in the smaller image, and the frame's own half pixel.
    slack = 1.5 / min(*image_size, *frame)
    if abs(scale_x / scale_y - 1) > slack:
        raise SectionError(
            f"the image is {image_size[0]} x {image_size[1]} px, but the spots were "
            f"placed on one of {frame[0]} x {frame[1]}: another shape, so another image"
        )
    return scale_x, scale_y
