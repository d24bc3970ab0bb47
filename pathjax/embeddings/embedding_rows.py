"""The journal of an embedding run, from which an interrupted `pathjax embed` resumes.

    FILE.h5.partial/journal.jsonl   what is embedded, then a line for each chunk
                    rows.f32        the chunks' features, float32, one after the other
                    shard-K-of-N/   both files of one shard

A line has a chunk's number of tiles and rows, and the CRC-32 of the rows' bytes. After
any interruption, `kill -9` and power cuts included, the longest prefix of whole lines
with matching sums counts; the rest is truncated. HDF5 has no such guarantee: a file
whose writer was killed may not open again. So rows are copied once, when complete.
"""

import contextlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from pathjax.embeddings.embedding_file import EmbeddingError
from pathjax.parallel.lock import exclusive

SCHEMA = 1
BLOCK_BYTES = 1 << 24  # read at once when the rows are copied
WAIT = "wait for it, or choose another --out"


class EmbeddingRows:
    """The rows in FILE.h5.partial, opened for appending; a context manager.

    Args:
      folder: FILE.h5.partial, created if needed.
      identity: What is embedded and how, JSON values only.
      width: E.
      overwrite: Start again where rows of another identity are found.

    Attributes:
      tiles: How many tiles of the source have been processed.
      rows: How many rows they gave; the others are in `skipped`.
      skipped: (tile number, reason) of tiles that were skipped.
      sizes: (height, width) of the tiles as they were stored.

    Raises:
      EmbeddingError: The folder holds rows of another identity and `overwrite` is
        False, or another process is adding to them.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        width: int,
        *,
        overwrite: bool = False,
    ):
        self.folder = Path(folder)
        self.tiles = self.rows = 0
        self.skipped: list[tuple[int, str]] = []
        self.sizes: set[tuple[int, int]] = set()
        self._width = width
        with contextlib.ExitStack() as files:
            lock = exclusive(self.folder / ".lock", EmbeddingError, WAIT)
            files.enter_context(lock)
            # "a+" makes what is not there and keeps what is.
            journal, data = self.folder / "journal.jsonl", self.folder / "rows.f32"
            self._journal = files.enter_context(open(journal, "ab+"))
            self._data = files.enter_context(open(data, "ab+"))
            self._open(identity, overwrite)
            self._files = files.pop_all()

    def _open(self, identity: dict[str, Any], overwrite: bool) -> None:
        header = {"schema": SCHEMA, "identity": identity, "width": self._width}
        self._journal.seek(0)
        old = _parse(self._journal.readline())
        if old is not None and old != header and not overwrite:
            changes = differences(old.get("identity", {}), identity)
            raise EmbeddingError(
                f"{self.folder} was started with {changes or 'another layout'}: remove "
                "it, choose another --out, or add --overwrite to start again"
            )
        if old == header:
            self._resume()
        else:
            self._truncate(0, 0)
            self._write(header)

    def _resume(self) -> None:
        """Counts complete chunks, and truncates the rest."""
        at = self._journal.tell()
        self._data.seek(0)
        while (line := self._journal.readline()) and (entry := _parse(line)):
            size = entry["rows"] * self._width * 4
            data = self._data.read(size)
            if len(data) != size or zlib.crc32(data) != entry["crc"]:
                break
            at = self._journal.tell()
            self._count(entry)
        self._truncate(at, self.rows * self._width * 4)

    def _truncate(self, journal: int, data: int) -> None:
        self._journal.truncate(journal)
        self._data.truncate(data)
        self._journal.seek(journal)

    def _count(self, entry: dict[str, Any]) -> None:
        self.tiles += entry["tiles"]
        self.rows += entry["rows"]
        self.skipped += [(row, reason) for row, reason in entry["skipped"]]
        self.sizes |= {(height, width) for height, width in entry["sizes"]}

    def _write(self, entry: dict[str, Any]) -> None:
        self._journal.write(json.dumps(entry).encode() + b"\n")
        self._journal.flush()

    def append(
        self,
        features: Float[np.ndarray, "m E"],
        *,
        tiles: int,
        skipped: list[tuple[int, str]],
        sizes: set[tuple[int, int]],
    ) -> None:
        """Adds a chunk: the features of `tiles` tiles, without those skipped.

        Raises:
          ValueError: The numbers do not add up.
        """
        if features.shape != (tiles - len(skipped), self._width):
            raise ValueError(
                f"expected features {(tiles - len(skipped), self._width)} of {tiles} "
                f"tiles, {len(skipped)} skipped, got {features.shape}"
            )
        data = np.ascontiguousarray(features, "<f4").tobytes()
        self._data.write(data)
        self._data.flush()  # before the line that describes it
        entry = {
            "tiles": tiles,
            "rows": len(features),
            "crc": zlib.crc32(data),
            "skipped": skipped,
            "sizes": sorted(sizes),
        }
        self._write(entry)
        self._count(entry)

    def blocks(self) -> Iterator[Float[np.ndarray, "m E"]]:
        """All rows in order, some at a time; also after closing."""
        rows = max(1, BLOCK_BYTES // (4 * self._width))
        with open(self.folder / "rows.f32", "rb") as file:
            for start in range(0, self.rows, rows):
                count = min(rows, self.rows - start) * self._width
                data = np.frombuffer(file.read(4 * count), "<f4")
                yield data.reshape(-1, self._width)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """A whole line of the journal; None for a torn one."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:  # of JSON and of UTF-8
        return None
    return entry if isinstance(entry, dict) else None


def differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs between two identities, in words; "" if nothing does."""
    return "; ".join(
        f"{key} {old.get(key)!r}, now {new.get(key)!r}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    )
