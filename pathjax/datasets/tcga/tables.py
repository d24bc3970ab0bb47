"""Files of TCGA tables: opening, headers, columns of numbers, and the package's error.

Knows no format; `labels.py` and the RNA readers do.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow
import pyarrow.csv
from jaxtyping import Float32

from pathjax.data.tables import opened as unpacked
from pathjax.files import reading

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
    """The bytes of a file, unpacked; see `pathjax.data.tables.opened`.

    Raises:
      TcgaError: It cannot be opened, or the block that reads it finds it damaged.
    """
    with (
        reading(path.name, TcgaError, advice="download it again"),
        unpacked(path) as file,
    ):
        yield file


def header_of(line: bytes, delimiter: str) -> list[str]:
    """The fields of a table's first line.

    Raises:
      ValueError, csv.Error: It is not text, or not CSV.
    """
    text = line.decode("utf-8-sig").rstrip("\r\n")
    fields = next(csv.reader([text], delimiter=delimiter), [])
    return [field.strip() for field in fields]


def read_values(
    file: BinaryIO,
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
      width: Number of fields in each row.
      keys: Places of the columns of text.
      columns: Places of the columns of numbers; missing values become NaN.
      delimiter: Between fields; quotes have a meaning in CSV only.

    Raises:
      pyarrow.ArrowInvalid: A row has another width, or a value is not a number.
    """
    types = {str(place): pyarrow.string() for place in keys}
    types |= {str(place): pyarrow.float32() for place in columns}
    texts: list[list[str]] = [[] for _ in keys]
    blocks = []
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
        blocks.append(np.stack([one.to_numpy(zero_copy_only=False) for one in numbers]))
    values = np.empty((len(columns), sum(one.shape[1] for one in blocks)), np.float32)
    end = values.shape[1]
    while blocks:  # freed one by one: the matrix may be most of memory
        block = blocks.pop()
        values[:, end - block.shape[1] : end] = block
        end -= block.shape[1]
    return texts, values
