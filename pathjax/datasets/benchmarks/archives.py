"""Unpacks what is published: zip, tar.gz and gz, whole or not at all.

A member that would land outside its folder, and anything that is no plain file, is
refused with the whole archive. Only the requested folder of an archive is written. No
format that can run code is read.
"""

import gzip
import hashlib
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pathjax.datasets.benchmarks.benchmark import BenchmarkError

TAR = (".tar.gz", ".tgz", ".tar")
PIECE = 1 << 20


def md5_of(path: Path) -> str:
    """Hex MD5 of a file: what archives publish, against damage and not malice."""
    with open(path, "rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.md5(usedforsecurity=False)
        ).hexdigest()


def unpack(archive: Path, kind: str, inside: str, target: Path) -> None:
    """Unpacks to `target`, which appears when all is written.

    Args:
      archive: the file.
      kind: its published name, whose ending says what it is.
      inside: folder of the archive to unpack; an archive without it is unpacked
        as it is.
      target: the folder to make, or for gz the file.

    Raises:
      BenchmarkError: the archive is damaged or not safe to unpack.
    """
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        if kind.endswith(".zip"):
            _write_members(archive, _zip_members(archive), inside, partial)
        elif kind.endswith(TAR):
            _write_members(archive, _tar_members(archive), inside, partial)
        elif kind.endswith(".gz"):
            with gzip.open(archive) as source, open(partial, "wb") as file:
                shutil.copyfileobj(source, file, PIECE)
        else:
            raise BenchmarkError(
                f"{archive} is no archive known here; expected .zip, .gz, "
                f"{', '.join(TAR)}"
            )
        os.replace(partial, target)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
    ) as error:
        raise BenchmarkError(
            f"{archive} is damaged or no {kind.partition('.')[2]} archive ({error}): "
            "remove it and download it again"
        ) from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


def _write_members(
    archive: Path,
    members: Iterator[tuple[str, BinaryIO | None]],
    inside: str,
    folder: Path,
) -> None:
    """Writes plain files; `inside` is stripped where there, and then all else left."""
    folder.mkdir()
    prefix = PurePosixPath(inside).parts
    whole = True  # until a member lies in `inside`
    for name, content in members:
        parts = PurePosixPath(name).parts
        if (
            content is None
            or not parts
            or name.startswith("/")
            or ".." in parts
            or "\\" in name
            or ":" in parts[0]
        ):
            raise BenchmarkError(
                f"{archive} holds {name!r}, which is a link or leads out of its "
                "folder: refused whole; download it from its source"
            )
        expected = bool(prefix) and parts[: len(prefix)] == prefix
        if expected and whole:
            whole = False
            shutil.rmtree(folder)
            folder.mkdir()
        if expected:
            parts = parts[len(prefix) :]
        if expected or whole:
            path = folder.joinpath(*parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                shutil.copyfileobj(content, file, PIECE)


def _zip_members(archive: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if member.is_dir():
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                yield member.filename, None
                continue
            with file.open(member) as content:
                yield member.filename, content


def _tar_members(archive: Path) -> Iterator[tuple[str, BinaryIO | None]]:
    with tarfile.open(archive) as file:
        for member in file:
            if member.isdir():
                continue
            content = file.extractfile(member) if member.isfile() else None
            yield member.name, content
