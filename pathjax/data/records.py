"""The encoded tiles of a study, read from its ArrayRecord shards by global row number.

`ArrayRecordDataSource` does the same but starts Python threads in each call, which
compete for the interpreter lock with the reading threads: a loader with two threads was
8 to 20 % slower with it (docs/performance.md). Records stay bytes here.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader
from jaxtyping import Int

from pathjax.buckets import hold

# Below the 1,024 file handles that a process usually may have. Opening a shard of 9,091
# records takes 0.5 ms, less than decoding two tiles.
OPEN_READERS = 256


class Records:
    """Records of shards in order, as one list; a shard is opened when first read.

    Threads share the readers, and the least recently used are dropped.

    Args:
      shards: Paths of ArrayRecord files, written with `group_size:1`.
      counts: Number of records of each.
      most: Readers kept open.
    """

    def __init__(
        self, shards: Sequence[Path], counts: Sequence[int], most: int = OPEN_READERS
    ):
        if len(shards) != len(counts):
            raise ValueError(f"{len(shards)} shards and {len(counts)} counts")
        self._shards = list(shards)
        self._counts = np.asarray(counts, np.int64)
        self._ends: Int[np.ndarray, "shards"] = np.cumsum(self._counts)
        self._most = most
        # Each with what keeps a downloaded shard from being removed.
        self._readers: OrderedDict[int, tuple[Any, contextlib.ExitStack]] = (
            OrderedDict()
        )
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._shards else 0

    def read(self, rows: Sequence[int] | np.ndarray) -> list[bytes]:
        """Records by number, in the order given; one call to each shard touched.

        Raises:
          IndexError: A number is out of range.
          ValueError: A shard is damaged, or has another number of records.
        """
        numbers = np.asarray(rows, np.int64)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(self)):
            raise IndexError(
                f"record {numbers.max() if numbers.min() >= 0 else numbers.min()} of {len(self)}"
            )
        shards = np.searchsorted(self._ends, numbers, side="right")
        out: list[bytes] = [b""] * len(numbers)
        for shard in np.unique(shards).tolist():
            places = np.flatnonzero(shards == shard)
            first = self._ends[shard] - self._counts[shard]
            records = self._reader(shard).read((numbers[places] - first).tolist())
            for place, record in zip(places, records, strict=True):
                out[place] = record
        return out

    def _reader(self, shard: int) -> Any:
        """The shard's reader, opened if necessary.

        Two threads may open the same shard at once. A reader that is dropped while a
        thread reads with it closes when that thread releases it.
        """
        with self._lock:
            if shard in self._readers:
                self._readers.move_to_end(shard)
                return self._readers[shard][0]
        with contextlib.ExitStack() as opened:
            if copy := hold(self._shards[shard]):  # of a shard in a bucket
                opened.enter_context(copy)
            reader = self._open(shard)
            with self._lock:
                if shard not in self._readers:
                    self._readers[shard] = reader, opened.pop_all()
                self._readers.move_to_end(shard)
                if len(self._readers) > self._most:
                    self._readers.popitem(last=False)[1][1].close()
                return reader

    def _open(self, shard: int) -> Any:
        path, count = self._shards[shard], int(self._counts[shard])
        reader = ArrayRecordReader(str(path), options="")
        if not reader.ok():
            raise ValueError(
                f"{path} is not a complete ArrayRecord file: build the study again"
            )
        if reader.num_records() != count:
            raise ValueError(
                f"{path} has {reader.num_records()} records, study.json says {count}: "
                "build the study again"
            )
        return reader
