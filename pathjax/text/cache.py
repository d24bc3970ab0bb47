"""A cache of vectors by text, so that no text is billed or computed twice.

One SQLite file. A row is on the disk before the next request is sent, so that what a
killed process had paid for is there when it runs again. Texts are stored as hashes only.
"""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from pathjax.data.text_store import TextError
from pathjax.files import cache_folder


def default_cache() -> Path:
    """~/.cache/pathjax/text.sqlite, or in XDG_CACHE_HOME."""
    return cache_folder() / "text.sqlite"


def key_of(settings: Mapping[str, Any], text: str) -> str:
    """SHA-256 of all that decides a vector: backend, model, settings, text."""
    parts = json.dumps([dict(sorted(settings.items())), text], ensure_ascii=False)
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()


class VectorCache:
    """Vectors by key. Several processes may share one on a local disk.

    Args:
      path: The file; created if missing. Not on NFS, whose locks SQLite cannot trust.

    Every method raises TextError if the file cannot be used.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self.path, timeout=60)
        try:
            with self._transaction():
                self._database.execute(
                    "CREATE TABLE IF NOT EXISTS vectors "
                    "(key TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
                )
            # A commit is on the disk when it returns.
            self._database.execute("PRAGMA synchronous = FULL")
        except TextError:
            self.close()
            raise

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing of what is written inside."""
        try:
            with self._database:
                yield
        except sqlite3.DatabaseError as error:
            raise TextError(
                f"{self.path} does not serve as cache of text vectors ({error}): name "
                "another with --cache"
            ) from error

    def get(self, keys: Sequence[str]) -> dict[str, Float[np.ndarray, "T"]]:
        """The vectors that are present, by key."""
        query = "SELECT vector FROM vectors WHERE key = ?"
        with self._transaction():
            rows = {
                key: self._database.execute(query, (key,)).fetchone()
                for key in dict.fromkeys(keys)
            }
        return {
            key: np.frombuffer(row[0], "<f4").astype(np.float32)
            for key, row in rows.items()
            if row
        }

    def put(self, rows: Iterable[tuple[str, Float[np.ndarray, "T"]]]) -> None:
        """Writes vectors; all of them are on the disk when it returns, or none."""
        with self._transaction():
            self._database.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                [(key, np.asarray(vector, "<f4").tobytes()) for key, vector in rows],
            )

    def take_all(self, path: Path) -> None:
        """Adds the vectors of another cache's file; keys that are known stay."""
        with VectorCache(path) as other, self._transaction():
            rows = other._database.execute("SELECT key, vector FROM vectors")
            insert = "INSERT OR IGNORE INTO vectors VALUES (?, ?)"
            self._database.executemany(insert, rows)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
