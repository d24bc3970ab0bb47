"""Finds a benchmark's parts in the user's folder, or downloads them.

Downloads go through tensorflow-datasets' `DownloadManager`, which works without
TensorFlow: it retries, keeps what is whole, and names files by address. The rest of its
builder is left out on purpose. Without TensorFlow its extraction fails (4.9.10 writes
files with `tf.io.gfile`), and where it works it passes over unsafe members in silence,
while archives.py refuses them; its checksums are SHA-256 of the archive, while these
sets publish MD5, PCam of what is in the archive; and a builder's own copy of the
examples would be a second one beside the study.

With a manual folder nothing is downloaded: what is missing is named, with where to get
it.
"""

import dataclasses
import json
import os
import zlib
from pathlib import Path
from typing import Any

from pathjax.datasets.benchmarks.archives import md5_of, unpack
from pathjax.datasets.benchmarks.benchmark import Benchmark, BenchmarkError, Part
from pathjax.files import write_json


@dataclasses.dataclass(frozen=True)
class Found:
    """A part on disk.

    Attributes:
      path: the file or folder.
      facts: where it is from and what was checked, for the provenance.
    """

    path: Path
    facts: dict[str, Any]


def default_cache() -> Path:
    """Where downloads and unpacked archives go, unless the user says otherwise."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return home / "pathjax" / "benchmarks"


def acquire(
    benchmark: Benchmark, manual_dir: Path | None, cache: Path
) -> dict[str, Found]:
    """All parts by key; archives are unpacked below `cache`.

    Raises:
      BenchmarkError: parts are missing (all are named), damaged, or not what is
        published.
    """
    if manual_dir is not None and not manual_dir.is_dir():
        raise BenchmarkError(
            f"{manual_dir} is no folder:\n{instructions(benchmark.parts)}"
        )
    found: dict[str, Found] = {}
    missing = []
    archives = {}
    for part in benchmark.parts:
        place = _in_folder(part, manual_dir)
        if place is not None:
            found[part.key] = Found(place, _checked_content(part, place))
            continue
        given = manual_dir / part.archive if manual_dir and part.archive else None
        if given is not None and given.is_file():
            archives[part.key] = given
        elif not part.optional and (manual_dir is not None or not part.url):
            missing.append(part)
    if missing:
        where = manual_dir or "no --manual-dir was given, which"
        raise BenchmarkError(
            f"{where} lacks what {benchmark.name} is made from:\n"
            f"{instructions(missing)}"
        )
    for part in benchmark.parts:
        if part.key in found or (part.optional and part.key not in archives):
            continue
        archive = archives.get(part.key)
        if archive is None:
            archive = download(part, benchmark.name, cache / "downloads")
        found[part.key] = _unpacked(part, archive, cache / benchmark.name)
    return found


def instructions(parts) -> str:
    """A line per part: the files needed and where to get them."""
    lines = []
    for part in parts:
        names = [*part.places, *([part.archive] if part.archive else [])]
        again = ", or leave --manual-dir out to download it" if part.url else ""
        lines.append(f"  - {' or '.join(names)}: {part.by_hand}{again}")
    return "\n".join(lines)


def _in_folder(part: Part, folder: Path | None) -> Path | None:
    for place in part.places if folder is not None else ():
        if (folder / place).exists():
            return folder / place
    return None


def _checked_content(part: Part, path: Path) -> dict[str, Any]:
    """Compares a plain file with its published checksum; folders have none."""
    if not path.is_file():
        return {"from": "an unpacked folder", "checksum": "none was compared"}
    found = md5_of(path)
    if part.md5_of == "content":
        _compare(part, path, found)
    return {"from": path.name, "md5": found, "published_md5": part.md5 or None}


def _compare(part: Part, path: Path, found: str) -> None:
    if part.md5 and found != part.md5:
        raise BenchmarkError(
            f"{path} has MD5 {found}, published is {part.md5}: it is damaged or of "
            f"another version; remove it and get it from {part.by_hand}"
        )


def _unpacked(part: Part, archive: Path, folder: Path) -> Found:
    """Unpacks once: a whole earlier unpacking of an equally named and sized file stays.

    The checksum is compared before unpacking, or for `md5_of="content"` after.
    """
    size = archive.stat().st_size
    stem = part.archive.partition(".")[0]
    # The sum tells archives of one name and size apart that were put in place later.
    stamp = zlib.crc32(f"{size} {archive.stat().st_mtime_ns} {archive}".encode())
    target = folder / f"{stem}-{stamp:08x}"
    note = target.with_name(f"{target.name}.json")
    content = part.md5_of == "content"
    if target.exists() and note.exists():
        return Found(target, json.loads(note.read_text(encoding="utf-8")))
    facts = {
        "from": part.archive,
        "bytes": size,
        "url": part.url or None,
        "published_md5": part.md5 or None,
    }
    if not content:
        facts["md5"] = md5_of(archive)
        _compare(part, archive, facts["md5"])
    if not target.exists():
        unpack(archive, part.archive, part.inside, target)
    if content:
        facts["md5_of_content"] = md5_of(target)
        try:
            _compare(part, archive, facts["md5_of_content"])
        except BenchmarkError:
            target.unlink()
            raise
    write_json(note, facts)
    return Found(target, facts)


def download(part: Part, name: str, folder: Path) -> Path:
    """Downloads a part's archive, or returns it where an earlier call did.

    Raises:
      BenchmarkError: the server cannot be reached or refuses.
    """
    import requests
    import tensorflow_datasets as tfds

    manager = tfds.download.DownloadManager(download_dir=folder, dataset_name=name)
    try:
        return Path(manager.download(part.url))
    except (tfds.download.DownloadError, requests.RequestException) as error:
        raise BenchmarkError(
            f"{part.url} cannot be downloaded ({error}): get {part.archive} from "
            f"{part.by_hand} and name its folder with --manual-dir"
        ) from error
