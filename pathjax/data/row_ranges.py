"""Row numbers stored as ranges: 10^8 rows of a fold are some 10^4 ranges."""

from typing import Self

import numpy as np
import pandas as pd
from jaxtyping import Int


class RowRanges:
    """The rows `first[i], ..., first[i] + sizes[i] - 1`, for each range in order.

    Indexed like an array of the rows; contiguous ranges are joined.

    Args:
      first: `[r]` first row of each range.
      sizes: `[r]` number of rows of each, at least one.
    """

    def __init__(self, first: Int[np.ndarray, "r"], sizes: Int[np.ndarray, "r"]):
        first = np.asarray(first, np.int64)
        ends = np.cumsum(sizes, dtype=np.int64)
        starts = ends - sizes
        gap = np.ones(len(first), bool)
        gap[1:] = first[1:] != first[:-1] + (ends - starts)[:-1]
        self.first: Int[np.ndarray, "ranges"] = first[gap]
        # The place of each range's first row, then the number of rows.
        self.places: Int[np.ndarray, "ranges_plus_1"] = np.r_[
            starts[gap], ends[-1:] if len(ends) else 0
        ].astype(np.int64)

    @classmethod
    def of_runs(cls, runs: pd.DataFrame) -> Self:
        """The rows of some rows of `Study.runs`."""
        return cls(runs["first_row"].to_numpy(), runs["tiles"].to_numpy())

    def __len__(self) -> int:
        return int(self.places[-1])

    @property
    def sizes(self) -> Int[np.ndarray, "ranges"]:
        """Number of rows of each range."""
        return np.diff(self.places)

    def take(self, places: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """The rows at some places, in the shape of `places`.

        Raises:
          IndexError: A place is out of range; none counts from the end.
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
        rows = np.arange(len(self))
        rows += np.repeat(self.first - self.places[:-1], self.sizes)
        return rows
