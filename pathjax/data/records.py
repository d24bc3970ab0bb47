"""The encoded tiles of a study, read from its ArrayRecord shards by global row number.

`ArrayRecordDataSource` does the same and starts Python threads in each call, which then
wait for the reading threads' interpreter lock: a loader with two threads was 8 to 20 %
slower with it (docs/performance.md). Readers are opened when first used and shared by
threads; a record is bytes and is not decoded here.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from jaxtyping import Int


class Records:
    """Records of shards in order, as one list.

    Args:
      shards: paths of ArrayRecord files, written with `group_size:1`.

    Raises:
      ValueError: when first used, a shard is no ArrayRecord file.
    """

    def __init__(self, shards: Sequence[Path]):
        self._shards = [str(path) for path in shards]

    @functools.cached_property
    def _readers(self) -> list[Any]:
        readers = [ArrayRecordReader(path, options="") for path in self._shards]
        broken = [
            path
            for path, reader in zip(self._shards, readers, strict=True)
            if not reader.ok()
        ]
        if broken:
            raise ValueError(
                f"{len(broken)} of {len(readers)} shards are no whole ArrayRecord "
                f"files, first {broken[0]}: build the study again"
            )
        return readers

    @functools.cached_property
    def _ends(self) -> Int[np.ndarray, "shards"]:
        return np.cumsum([reader.num_records() for reader in self._readers])

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._shards else 0

    def read(self, rows: Sequence[int]) -> list[bytes]:
        """Records by number, in the order asked; one call to each shard touched.

        Raises:
          IndexError: there is no such record.
        """
        rows = np.asarray(rows, np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(
                f"record {rows.max() if rows.min() >= 0 else rows.min()} of {len(self)}"
            )
        shards = np.searchsorted(self._ends, rows, side="right")
        found: list[bytes] = [b""] * len(rows)
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            first = self._ends[shard - 1] if shard else 0
            records = self._readers[shard].read((rows[places] - first).tolist())
            for place, record in zip(places, records, strict=True):
                found[place] = record
        return found
