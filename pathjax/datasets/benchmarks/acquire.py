"""Finds a benchmark's files in the user's folder, or downloads, checks and unpacks them.

Downloads use the `DownloadManager` of tensorflow-datasets, which works without
TensorFlow. Its extraction needs TensorFlow and skips unsafe members silently; here an
archive with a link or a member outside its folder is rejected as a whole.
"""

import dataclasses
import gzip
import json
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pathjax.datasets.benchmarks.benchmark import Benchmark, BenchmarkError, Part
from pathjax.files import cache_folder, digest, short_name, write_json
from pathjax.optional_deps import need

TAR = (".tar.gz", ".tgz", ".tar")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)
BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Located:
    """A part on disk: its file or folder, and what the provenance says about it."""

    path: Path
    info: dict[str, Any]


def default_cache() -> Path:
    """~/.cache/pathjax/benchmarks, or below $XDG_CACHE_HOME."""
    return cache_folder() / "benchmarks"


def acquire(
    benchmark: Benchmark, manual_dir: Path | None, cache: Path
) -> dict[str, Located]:
    """All parts by key; archives are unpacked below `cache`.

    With `manual_dir` nothing is downloaded.

    Raises:
      BenchmarkError: Parts are missing (all are named), damaged, or not as published.
    """
    if manual_dir is not None and not manual_dir.is_dir():
        raise BenchmarkError(
            f"{manual_dir} is not a folder:\n{_instructions(benchmark.parts)}"
        )
    located: dict[str, Located] = {}
    archives: dict[str, Path | None] = {}
    missing = []
    for part in benchmark.parts:
        given = [manual_dir / name for name in part.names] if manual_dir else []
        path = next((path for path in given if path.exists()), None)
        if path and path != manual_dir / part.archive:
            located[part.key] = Located(path, _check_plain(part, path))
        elif path and path.is_file():
            archives[part.key] = path
        elif not part.optional and part.url and manual_dir is None:
            archives[part.key] = None
        elif not part.optional:
            missing.append(part)
    if missing:
        raise BenchmarkError(
            f"{manual_dir or 'no --manual-dir was given, which'} lacks files of "
            f"{benchmark.name}:\n{_instructions(missing)}"
        )
    for part in benchmark.parts:
        if part.key in archives:
            path = archives[part.key] or _download(part, benchmark.name, cache)
            located[part.key] = _unpack_once(part, path, cache / benchmark.name)
    return located


def _instructions(parts: Iterable[Part]) -> str:
    """A line per part: the files needed and where to get them."""
    download = ", or leave --manual-dir out to download it"
    return "\n".join(
        f"  - {' or '.join(part.names)}: {part.by_hand}{download if part.url else ''}"
        for part in parts
    )


def _check_plain(part: Part, path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {"from": "an unpacked folder", "checksum": "none was compared"}
    checked = part.md5_of == "content"
    md5 = _checked_md5(path, part, path) if checked else digest(path, "md5")
    return {"from": path.name, "md5": md5, "published_md5": part.md5 or None}


def _checked_md5(path: Path, part: Part, given: Path) -> str:
    """The MD5 of `path`, which came from the file `given`, compared with `part`'s."""
    md5 = digest(path, "md5")
    if part.md5 and md5 != part.md5:
        raise BenchmarkError(
            f"{given} has MD5 {md5}, expected {part.md5}: it is damaged or another "
            f"version; remove it and get it from {part.by_hand}"
        )
    return md5


def _unpack_once(part: Part, archive: Path, folder: Path) -> Located:
    """Unpacks an archive, or returns the complete result of an earlier call."""
    facts = archive.stat()
    # Distinguishes archives that were put in the same place one after the other.
    stamp = zlib.crc32(f"{facts.st_size} {facts.st_mtime_ns} {archive}".encode())
    target = folder / f"{part.archive.partition('.')[0]}-{stamp:08x}"
    note = target.with_name(f"{target.name}.json")
    if target.exists() and note.exists():
        return Located(target, json.loads(note.read_text(encoding="utf-8")))
    info = {
        "from": part.archive,
        "bytes": facts.st_size,
        "url": part.url or None,
        "published_md5": part.md5 or None,
    }
    if part.md5_of == "archive":
        info["md5"] = _checked_md5(archive, part, archive)
    if not target.exists():
        unpack(archive, part.archive, part.inside, target)
    if part.md5_of == "content":
        try:
            info["md5_of_content"] = _checked_md5(target, part, archive)
        except BenchmarkError:
            target.unlink()
            raise
    write_json(note, info)
    return Located(target, info)


def _download(part: Part, name: str, cache: Path) -> Path:
    """Downloads a part's archive, unless it was downloaded before."""
    tfds = need("tensorflow_datasets", "benchmarks")
    import requests  # comes with it

    folder = cache / "downloads"
    manager = tfds.download.DownloadManager(download_dir=folder, dataset_name=name)
    try:
        return Path(manager.download(part.url))
    except (tfds.download.DownloadError, requests.RequestException) as error:
        raise BenchmarkError(
            f"{part.url} cannot be downloaded ({error}): get {part.archive} from "
            f"{part.by_hand} and pass its folder as --manual-dir"
        ) from error


def unpack(archive: Path, name: str, inside: str, target: Path) -> None:
    """Unpacks to the folder `target` (for gz a file), which appears only when complete.

    Args:
      archive: The file.
      name: Its published name, which ends in its format: zip, tar.gz, tgz, tar or gz.
      inside: Folder of the archive to unpack; an archive without it is unpacked whole.
      target: Folder or file to create.

    Raises:
      BenchmarkError: The archive is damaged or unsafe.
    """
    partial = target.with_name(short_name(f".partial-{os.getpid()}-{target.name}"))
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        if name.endswith(".zip"):
            _write_members(archive, _zip_members(archive), inside, partial)
        elif name.endswith(TAR):
            _write_members(archive, _tar_members(archive), inside, partial)
        elif name.endswith(".gz"):
            with gzip.open(archive) as source, open(partial, "wb") as file:
                shutil.copyfileobj(source, file, BLOCK)
        else:
            raise BenchmarkError(f"{archive}: expected .zip, .gz, {', '.join(TAR)}")
        os.replace(partial, target)
    except DAMAGED as error:
        raise BenchmarkError(
            f"{archive} is damaged or not a {name.partition('.')[2]} archive ({error}): "
            "remove it and download it again"
        ) from error
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)


Members = Iterator[tuple[str, BinaryIO | None]]  # None for a link


def _write_members(archive: Path, members: Members, inside: str, folder: Path) -> None:
    """Writes the files in `inside`, or all files if none is in it."""
    folder.mkdir()
    prefix = PurePosixPath(inside).parts
    whole = True  # until a member is in `inside`
    for name, content in members:
        parts = PurePosixPath(name).parts
        unsafe = not parts or name.startswith("/") or ".." in parts or "\\" in name
        if content is None or unsafe or ":" in parts[0]:
            raise BenchmarkError(
                f"{archive} holds {name!r}, which is a link or leads out of its "
                "folder, so nothing was unpacked: download it from its source"
            )
        within = bool(prefix) and parts[: len(prefix)] == prefix
        if within and whole:
            whole = False
            shutil.rmtree(folder)
            folder.mkdir()
        if within or whole:
            path = folder.joinpath(*(parts[len(prefix) :] if within else parts))
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                shutil.copyfileobj(content, file, BLOCK)


def _zip_members(archive: Path) -> Members:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                yield member.filename, None
            elif not member.is_dir():
                with file.open(member) as content:
                    yield member.filename, content


def _tar_members(archive: Path) -> Members:
    with tarfile.open(archive) as file:
        for member in file:
            if not member.isdir():
                yield member.name, file.extractfile(member) if member.isfile() else None
