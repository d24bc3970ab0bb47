"""Vectors kept per text, so that no text is paid for or computed twice.

One SQLite file. A row is written, and on the disk, before the next request is sent:
what a killed process had paid for is there when it runs again. Texts are not kept,
only their hashes.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from pathjax.data.text_store import TextError


def default_cache() -> Path:
    """~/.cache/pathjax/text.sqlite, or where XDG_CACHE_HOME says."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return home / "pathjax" / "text.sqlite"


def key_of(settings: Mapping[str, Any], text: str) -> str:
    """SHA-256 of all that decides a vector: back-end, model, settings, text."""
    what = json.dumps([dict(sorted(settings.items())), text], ensure_ascii=False)
    return hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()


class VectorCache:
    """Vectors by key. Several processes may share one on a local disk.

    Args:
      path: the file; made when missing. Not on NFS, whose locks SQLite cannot trust.

    Raises:
      TextError: it is no such file.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(self.path, timeout=60)
        try:
            with self._file:
                self._file.execute(
                    "CREATE TABLE IF NOT EXISTS vectors "
                    "(key TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
                )
            # A commit is on the disk when it returns.
            self._file.execute("PRAGMA synchronous = FULL")
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise self._unfit(error) from error

    def get(self, keys: Sequence[str]) -> dict[str, Float[np.ndarray, "T"]]:
        """The vectors that are there, by key.

        Raises:
          TextError: the file cannot be read.
        """
        found = {}
        try:
            for key in dict.fromkeys(keys):
                row = self._file.execute(
                    "SELECT vector FROM vectors WHERE key = ?", (key,)
                ).fetchone()
                if row:
                    found[key] = np.frombuffer(row[0], "<f4").astype(np.float32)
        except sqlite3.DatabaseError as error:
            raise self._unfit(error) from error
        return found

    def put(self, rows: Iterable[tuple[str, Float[np.ndarray, "T"]]]) -> None:
        """Writes vectors; on the disk, all or none, when it returns.

        Raises:
          TextError: they cannot be written, as on a full disk.
        """
        try:
            with self._file:
                self._file.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
                    [(key, np.asarray(one, "<f4").tobytes()) for key, one in rows],
                )
        except sqlite3.DatabaseError as error:
            raise self._unfit(error) from error

    def _unfit(self, error: sqlite3.DatabaseError) -> TextError:
        return TextError(
            f"{self.path} does not serve as cache of text vectors ({error}): name "
            "another with --cache"
        )

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
