"""Files of TCGA tables: opening, headers, columns of numbers, and the package's error.

Knows no format; `labels.py` and the RNA readers do.
"""

import csv
import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow
import pyarrow.csv
from jaxtyping import Float32

# What a damaged file can raise. NotImplementedError and RuntimeError: a zip archive
# with an unknown method or a password.
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
UNREADABLE += (NotImplementedError, RuntimeError)
# Bytes parsed at a time; a row has to fit (Toil's matrix: 85 kB). Parsing costs per
# column and block, so that large blocks are fast.
BLOCK_BYTES = 32 << 20


class TcgaError(ValueError):
    """Files of TCGA cannot be used, joined or paired; the message says why."""


def first_few(items: Sequence[str], few: int = 5, separator: str = "; ") -> str:
    """Joins the first items, and says how many more there are."""
    more = [f"and {len(items) - few} more"] if len(items) > few else []
    return separator.join([*items[:few], *more])


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed if its first bytes are those of gzip or zip.

    By content, because Xena's downloads often lack an extension.

    Raises:
      TcgaError: It cannot be read, or the zip archive holds several files.
    """
    try:
        with open(path, "rb") as raw:
            magic = raw.read(4)
            raw.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(raw) as file:
                    yield file
            elif magic == b"PK\x03\x04":
                with (
                    zipfile.ZipFile(raw) as archive,
                    archive.open(_member(path, archive)) as file,
                ):
                    yield file
            else:
                yield raw
    except UNREADABLE as error:
        raise TcgaError(
            f"{path.name} cannot be read ({error or type(error).__name__}): download "
            "it again"
        ) from error


def _member(path: Path, archive: zipfile.ZipFile) -> str:
    """The only file in an archive, not counting those that macOS adds."""
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not name.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        raise TcgaError(
            f"{path.name}: expected one file in the archive, got {len(names)}; unpack "
            "it and give the folder"
        )
    return names[0]


def text_of(data: bytes, path: Path) -> str:
    """Decodes UTF-8, with or without a byte order mark.

    Raises:
      TcgaError: It is not text.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TcgaError(f"{path.name} is not text ({error})") from error


def header_of(line: bytes, path: Path, delimiter: str) -> list[str]:
    """The fields of a table's first line.

    Raises:
      TcgaError: It is not text, or not CSV.
    """
    text = text_of(line, path).rstrip("\r\n")
    try:
        fields = next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise TcgaError(f"{path.name} is not CSV ({error})") from error
    return [field.strip() for field in fields]


def read_values(
    file: BinaryIO,
    path: Path,
    *,
    width: int,
    keys: Sequence[int],
    columns: Sequence[int],
    delimiter: str,
) -> tuple[list[list[str]], Float32[np.ndarray, "columns rows"]]:
    """Columns of text and of numbers, by place, because names may repeat.

    Read block by block into columns, so that a matrix is in memory once.

    Args:
      file: Open after the header.
      path: For messages.
      width: Number of fields in each row.
      keys: Places of the columns of text.
      columns: Places of the columns of numbers; missing values become NaN.
      delimiter: Between fields; quotes have a meaning in CSV only.

    Raises:
      TcgaError: A row has another width, or a value is not a number.
    """
    types = {str(place): pyarrow.string() for place in keys}
    types |= {str(place): pyarrow.float32() for place in columns}
    texts: list[list[str]] = [[] for _ in keys]
    blocks = []
    try:
        for batch in pyarrow.csv.open_csv(
            file,
            pyarrow.csv.ReadOptions(
                column_names=[str(place) for place in range(width)],
                block_size=BLOCK_BYTES,
                use_threads=False,
            ),
            pyarrow.csv.ParseOptions(
                delimiter=delimiter, quote_char='"' if delimiter == "," else False
            ),
            pyarrow.csv.ConvertOptions(column_types=types, include_columns=list(types)),
        ):
            for text, column in zip(texts, batch.columns, strict=False):
                text += column.to_pylist()
            numbers = batch.columns[len(keys) :]
            blocks.append(
                np.stack([one.to_numpy(zero_copy_only=False) for one in numbers])
            )
    except pyarrow.ArrowException as error:
        raise TcgaError(f"{path.name} is damaged: {str(error)[:300]}") from error
    values = np.empty((len(columns), sum(one.shape[1] for one in blocks)), np.float32)
    end = values.shape[1]
    while blocks:  # freed one by one: the matrix may be most of memory
        block = blocks.pop()
        values[:, end - block.shape[1] : end] = block
        end -= block.shape[1]
    return texts, values
