"""Row numbers kept as ranges: an array of them that costs nothing per row.

A slide's tiles follow one another in a study, so that 10^8 rows of a fold are some 10^4
ranges. Numbers only; which rows belong together is for `samples.py`.
"""

import numpy as np
from jaxtyping import Int


class RowRanges:
    """The rows `first[i], ..., first[i] + sizes[i] - 1`, for each range in order.

    Place p of the whole is a row as in an array: `take([p])` is `[row]`. Ranges that
    continue one another are joined.

    Args:
      first: `[r]` first row of each range.
      sizes: `[r]` how many rows each has, at least one.
    """

    def __init__(self, first: Int[np.ndarray, "r"], sizes: Int[np.ndarray, "r"]):
        first = np.asarray(first, np.int64)
        ends = np.cumsum(sizes, dtype=np.int64)
        starts = ends - sizes
        gap = np.ones(len(first), bool)
        gap[1:] = first[1:] != first[:-1] + (ends - starts)[:-1]
        self.first: Int[np.ndarray, "ranges"] = first[gap]
        # The place of each range's first row, and behind them the number of rows.
        self.places: Int[np.ndarray, "ranges_plus_1"] = np.r_[
            starts[gap], ends[-1:] if len(ends) else 0
        ].astype(np.int64)

    def __len__(self) -> int:
        return int(self.places[-1])

    @property
    def sizes(self) -> Int[np.ndarray, "ranges"]:
        """How many rows each range has."""
        return np.diff(self.places)

    def take(self, places: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """The rows at some places, in the shape of `places`.

        Raises:
          IndexError: there is no such place; none counts from the end.
        """
        places = np.asarray(places, np.int64)
        if places.size and (places.min() < 0 or places.max() >= len(self)):
            raise IndexError(f"places {places} of {len(self)} rows")
        which = np.searchsorted(self.places, places, side="right") - 1
        return self.first[which] + places - self.places[which]

    def part(self, start: int, stop: int) -> Int[np.ndarray, "m"]:
        """The rows at places start, ..., stop - 1."""
        return self.take(np.arange(start, stop))

    def to_array(self) -> Int[np.ndarray, "n"]:
        """All rows, 8 bytes each."""
        shift = self.first - self.places[:-1]
        return np.arange(len(self)) + np.repeat(shift, self.sizes)
