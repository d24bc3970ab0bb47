"""Numbers for the page: four digits, and null for what is no number.

JSON has no NaN, and digits that no pixel shows would make up most of the file.
"""

import math
from collections.abc import Iterable

import numpy as np

DIGITS = 4


def rounded(value: float | None, digits: int = DIGITS) -> float | int | None:
    """`value` with that many significant digits; None when it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def rounded_list(values: Iterable[float], digits: int = DIGITS) -> list:
    """`rounded` of each."""
    return [rounded(float(value), digits) for value in values]


def rounded_within(values: np.ndarray, steps: int = 4096) -> list:
    """Coordinates to one part in `steps` of their range, finer than a screen's pixels.

    Significant digits would not do: far from 0 they leave too few places.
    """
    values = np.asarray(values, np.float64)
    finite = values[np.isfinite(values)]
    span = float(np.ptp(finite)) if finite.size else 0.0
    places = 0 if span == 0 else max(0, math.ceil(math.log10(steps / span)))
    out = []
    for value in values:
        if not math.isfinite(value):
            out.append(None)
            continue
        short = round(float(value), places)
        out.append(int(short) if short.is_integer() else short)
    return out
