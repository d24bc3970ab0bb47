"""What every reader of RNA hands on: samples, genes, values, and where they came from.

    bytes of a file -> (reader) -> RnaTable -> joined and saved by rna.py

Here are the pieces the readers share: reading files that may be compressed, naming
samples, and the one error. It knows no format.
"""

import dataclasses
import gzip
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int32

from pathjax.data.tcga_barcodes import Barcode

Note = tuple[str, str]  # what was left out, and why

# What reading a damaged file can raise, beside what its parser raises.
# NotImplementedError and RuntimeError: zip with an unknown method or a password.
UNREADABLE = (
    OSError,
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
)


class RnaError(ValueError):
    """A file of RNA cannot be used, or nothing in a folder can; the message says why."""


@dataclasses.dataclass
class RnaTable:
    """Expression of some samples, from one file or one folder.

    Attributes:
      x: `[samples, genes]`, on the scale that `x_units` names.
      counts: raw counts of the same shape, None where there are none.
      obs: a row per sample, made by `observations`.
      var: a row per gene, made by `genes.reconcile`.
      units: the scale found, a key of `rna_units.UNITS`.
      x_units: the scale of `x` in words.
      evidence: why these units.
      genes: how many genes were read, kept, summed and dropped, by reason.
      files: name, SHA-256 and size in bytes of what was read.
      skipped: samples and files left out.
    """

    x: Float32[np.ndarray, "n G"]
    counts: Int32[np.ndarray, "n G"] | None
    obs: pd.DataFrame
    var: pd.DataFrame
    units: str
    x_units: str
    evidence: list[str]
    genes: dict[str, int]
    files: list[tuple[str, str, int]]
    skipped: list[Note]


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if its first bytes are those of gzip or zip.

    By content, because Xena's downloads often lack an ending.

    Raises:
      RnaError: it cannot be read to the end of what is asked for, or the zip archive
        holds more than one file.
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
        raise RnaError(
            f"{path.name} cannot be read ({error or type(error).__name__}): download "
            "it again"
        ) from error


def _member(path: Path, archive: zipfile.ZipFile) -> str:
    """The one file in an archive; what macOS adds beside it does not count."""
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not name.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        raise RnaError(
            f"{path.name} holds {len(names)} files, wanted one: unpack it and give the "
            "folder"
        )
    return names[0]


def text_of(data: bytes, path: Path) -> str:
    """Decodes UTF-8.

    Raises:
      RnaError: it is no text.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RnaError(f"{path.name} is no text ({error})") from error


def sample_as_given(barcode: Barcode) -> str:
    """15 characters, or 16 where the vial is known."""
    return barcode.sample + barcode.vial


def observations(
    barcodes: Sequence[Barcode],
    aliquots: Sequence[str],
    projects: Sequence[str],
    files: Sequence[str],
) -> pd.DataFrame:
    """A row per sample: case_id, sample_type, sample, aliquot, project, site, file.

    What is not known is "". Rows are not yet named: `named` does it when all are there.
    """
    return pd.DataFrame(
        {
            "case_id": [one.patient for one in barcodes],
            "sample_type": [one.sample_type for one in barcodes],
            "sample": [sample_as_given(one) for one in barcodes],
            "aliquot": list(aliquots),
            "project": list(projects),
            "site": [one.site for one in barcodes],
            "file": list(files),
        },
        dtype=object,
    )


def named(obs: pd.DataFrame) -> pd.DataFrame:
    """Indexes rows by their sample barcode; no two rows get the same name.

    Where a sample occurs more than once its rows are named by aliquot; where that does
    not tell them apart either, by a number, in the order of the rows.
    """
    name = obs["sample"].copy()
    repeated = name.duplicated(keep=False) & (obs["aliquot"] != "")
    name[repeated] = obs["aliquot"][repeated]
    repeated = name.duplicated(keep=False)
    number = (name.groupby(name).cumcount() + 1).astype(str)
    name[repeated] = name[repeated] + "#" + number[repeated]
    return obs.set_index(pd.Index(name.to_numpy(), dtype=object))
