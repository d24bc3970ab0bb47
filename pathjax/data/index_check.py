"""Checks the index of a study in one pass over its tiles, with 8 bytes for each.

    pieces of tiles.parquet, in order -> add -> owners, missing, problems

Both the writer, while it joins, and `pathjax data check`, while it reads, look through
this. What concerns tiles together with other tables is in `check.py`.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from pathjax.data.slide_table import OWNERS
from pathjax.data.study import TILE_COLUMNS, Target

KEYS = ["shard", *OWNERS]
# Ids of equal hash are compared themselves, up to so many: of 10^8 ids two share one of
# 2^64 hashes with a probability of 3e-4, and a thousand pairs never do.
COMPARED = 1000


class IndexCheck:
    """What a study's tiles say, gathered piece by piece.

    Args:
      columns: of the table.
      rows: how many tiles it has.
      shards: name to number of tiles, in the order of the study.
      targets: those of the study; the ones of tiles are looked at.
    """

    def __init__(
        self,
        columns: Sequence[str],
        rows: int,
        shards: Mapping[str, int],
        targets: Sequence[Target],
    ):
        self.lacking = [name for name in TILE_COLUMNS if name not in columns]
        self.missing = {
            one.name: 0
            for one in targets
            if one.level == "tile" and one.name in columns
        }
        self.values: dict[str, set[str]] = {
            one.name: set()
            for one in targets
            if one.name in self.missing and one.kind == "class"
        }
        self._hashes = np.empty(rows, np.int64)
        self.rows = 0
        self._names = pa.array(list(shards), pa.string())
        self._sizes = np.array(list(shards.values()), np.int64)
        self._ends = np.cumsum(self._sizes)
        self._pieces: list[pd.DataFrame] = []
        self._misplaced: list[int] = []  # the first of each piece
        self._n_misplaced = 0

    def add(self, table: pa.Table) -> None:
        """Looks at the next rows."""
        if self.lacking:
            return
        stop = self.rows + len(table)
        self._hashes[self.rows : stop] = _hashes(table["tile_id"])
        groups = table.select(KEYS).group_by(KEYS, use_threads=False)
        pieces = groups.aggregate([([], "count_all")]).to_pandas()
        self._pieces.append(pieces.rename(columns={"count_all": "tiles"}))
        for name in self.missing:
            null = pc.is_null(table[name], nan_is_null=True)
            self.missing[name] += pc.sum(null).as_py() or 0
        for name, values in self.values.items():
            values.update(map(str, pc.unique(table[name]).drop_null().to_pylist()))
        self._look_at_places(table, np.arange(self.rows, stop))
        self.rows = stop

    def _look_at_places(self, table: pa.Table, rows: Int[np.ndarray, "n"]) -> None:
        """Row r of the table has to be record r of the shards."""
        wanted = np.searchsorted(self._ends, rows, side="right")
        inside = wanted < len(self._ends)  # a table longer than its shards
        rows, wanted = rows[inside], wanted[inside]
        shard = pc.index_in(table["shard"].cast(pa.string()), self._names)
        shard = shard.fill_null(-1).to_numpy()
        place = rows - (self._ends - self._sizes)[wanted]
        wrong = shard[inside] != wanted
        wrong |= table["row"].to_numpy()[inside] != place
        if wrong.any():
            self._misplaced.append(int(rows[wrong][0]))
            self._n_misplaced += int(wrong.sum())

    @property
    def owners(self) -> pd.DataFrame:
        """`shard, slide_id, patient_id, sample_id, tiles`, each combination once.

        In no particular order.
        """
        if not self._pieces:
            return pd.DataFrame({name: [] for name in [*KEYS, "tiles"]})
        joined = pd.concat(self._pieces, ignore_index=True)
        return joined.groupby(KEYS, sort=False, dropna=False, as_index=False).sum()

    def problems(self, ids: Iterable[pa.Table]) -> list[str]:
        """What is wrong with the tiles among themselves; empty when nothing is.

        Args:
          ids: the column tile_id of the same rows, read only where hashes repeat.
        """
        if self.lacking:
            return [f"tiles lack the columns {', '.join(self.lacking)}"]
        found = self._repeated(ids)
        if self._misplaced:
            found.append(
                f"{self._n_misplaced} rows of tiles.parquet are not in the order of "
                f"the records, first row {self._misplaced[0]}"
            )
        return found

    def _repeated(self, ids: Iterable[pa.Table]) -> list[str]:
        hashes = self._hashes[: self.rows]
        hashes.sort()
        suspects = hashes[1:][hashes[1:] == hashes[:-1]]
        if not len(suspects):
            return []
        seen: set[str] = set()
        twice: list[str] = []
        looked_at = np.unique(suspects[:COMPARED])
        for table in ids:
            column = table["tile_id"]
            for place in np.flatnonzero(np.isin(_hashes(column), looked_at)).tolist():
                one = column[place].as_py()
                if one in seen:
                    twice.append(one)
                seen.add(one)
        count = len(twice) if len(suspects) <= COMPARED else len(suspects)
        return [f"{count} tile_ids occur twice, first {twice[0]!r}"] if twice else []


def _hashes(column: pa.ChunkedArray) -> Int[np.ndarray, "n"]:
    """Python's own 64-bit hashes: SipHash, keyed anew in each process."""
    return np.fromiter(map(hash, column.to_pylist()), np.int64, len(column))
