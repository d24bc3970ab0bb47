"""Builds a benchmark's study from its published files.

A shard holds up to 1,024 images of one fold in published order. A broken image is
skipped and named in study.json. Whatever makes the folds uncertain is an error: other
counts than published (unless `partial`), an unknown label, a patient in two folds.
"""

import collections
import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.data.preprocess import Preprocess
from pathjax.data.study import Split, Study, StudyError, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.benchmarks.acquire import acquire, default_cache
from pathjax.datasets.benchmarks.benchmark import Benchmark, BenchmarkError, Record
from pathjax.datasets.dataset import Progress
from pathjax.files import write_json

PER_SHARD = 1024
AT_ONCE = 16  # images in memory at once; those of BRACS are large
FORMATS = ("PNG", "JPEG", "TIFF")
# BRACS has regions of over 100 megapixels. Bounds the memory of one image to 1 GB.
MAX_PIXELS = 250_000_000


def build_benchmark(
    benchmark: Benchmark,
    out: str | Path,
    *,
    manual_dir: str | Path | None = None,
    cache: str | Path | None = None,
    partial: bool = False,
    progress: Progress = lambda done, total: None,
) -> Study:
    """Builds the study, or what is missing of it in `out`.

    Args:
      benchmark: One of `BENCHMARKS`.
      out: Directory of the study.
      manual_dir: Folder with the published files, as downloaded or unpacked; None to
        download them.
      cache: Folder for downloads and unpacked archives; None for `default_cache()`.
      partial: Accept other counts than published; the provenance says so.
      progress: Called with (images done, total number of images).

    Returns:
      The study: tiles have the class `label`, the split `benchmark` has the folds.

    Raises:
      BenchmarkError: Files are missing, damaged or not as published.
      StudyError: `out` was begun with other parameters, or nothing could be stored.
    """
    located = acquire(
        benchmark,
        None if manual_dir is None else Path(manual_dir),
        default_cache() if cache is None else Path(cache),
    )
    records = read_records(benchmark, {key: p.path for key, p in located.items()})
    found = collections.Counter(record.fold for record in records)
    difference = ", ".join(
        f"{fold} {found[fold]:,} images for {expected:,} published"
        for fold, expected in benchmark.counts.items()
        if found[fold] != expected
    )
    if difference and not partial:
        raise BenchmarkError(
            f"{benchmark.name} is not complete: {difference}. Unpack the published "
            "archives again, or accept what is there with --partial"
        )
    with _no_pillow_limit(), ThreadPoolExecutor(os.cpu_count()) as pool:
        writer = StudyWriter(
            out,
            name=benchmark.name,
            tile_px=benchmark.tile_px,
            mpp=_study_mpp(benchmark, records),
            provenance={
                "source": benchmark.source,
                "licence": benchmark.licence,
                "folds": benchmark.rule,
                "patients": benchmark.patients,
                "notes": benchmark.notes,
                "native_size": benchmark.native,
                "native_mpp": benchmark.mpp,
                "scored_fold": benchmark.scored,
                "counts": difference or "as published",
                "parts": {key: part.info for key, part in located.items()},
            },
            build={
                "benchmark": benchmark.name,
                "tile_px": benchmark.tile_px,
                "images": len(records),
                "listing": _hash(records),
            },
        )
        skipped: dict[str, str] = {}
        done = 0
        for fold, group in itertools.groupby(records, key=lambda record: record.fold):
            for i, rows in enumerate(_batches(list(group), PER_SHARD)):
                name = f"{fold}-{i:04d}"
                skipped |= _write_shard(writer, benchmark, name, rows, pool)
                done += len(rows)
                progress(done, len(records))
    for tile_id, reason in skipped.items():
        writer.skip(tile_id, reason)
    kept = [record for record in records if record.tile_id not in skipped]
    sites = {_sample(benchmark, r): r.site or benchmark.name for r in kept}
    folds: dict[str, dict[str, None]] = {}  # sets that keep their order
    for record in kept:
        folds.setdefault(record.fold, {})[_sample(benchmark, record)] = None
    ids = list(sites)
    return writer.finish(
        samples=pd.DataFrame(
            {"sample_id": ids, "patient_id": ids, "site": list(sites.values())}
        ),
        targets=[Target("label", "tile", "class", benchmark.classes, benchmark.title)],
        splits=[
            Split(
                "benchmark",
                {fold: tuple(samples) for fold, samples in folds.items()},
                note=f"{benchmark.rule}; patients: {benchmark.patients}",
            )
        ],
    )


def read_records(benchmark: Benchmark, paths: Mapping[str, Path]) -> list[Record]:
    """All records, those of a fold together.

    Raises:
      BenchmarkError: There are none, an id occurs twice, or a patient is in two folds.
    """
    records = list(benchmark.read(benchmark, paths))
    if not records:
        raise BenchmarkError(
            f"no image of {benchmark.name} in {', '.join(map(str, paths.values()))}: "
            "unpack the published archives again"
        )
    counts = collections.Counter(record.tile_id for record in records)
    twice = [tile_id for tile_id, count in counts.items() if count > 1]
    if twice:
        raise BenchmarkError(
            f"{len(twice)} images of {benchmark.name} occur more than once, first "
            f"{twice[0]}: remove the copies"
        )
    fold_of: dict[str, str] = {}
    for record in records:
        patient = record.patient_id
        if patient and fold_of.setdefault(patient, record.fold) != record.fold:
            raise BenchmarkError(
                f"patient {patient} of {benchmark.name} is in the folds "
                f"{fold_of[patient]} and {record.fold}, last in {record.tile_id}: the "
                "files are not as published"
            )
    order = list(benchmark.counts)
    return sorted(records, key=lambda record: order.index(record.fold))


def _write_shard(
    writer: StudyWriter,
    benchmark: Benchmark,
    name: str,
    records: Sequence[Record],
    pool: ThreadPoolExecutor,
) -> dict[str, str]:
    """Writes a shard if it is missing; returns the skipped tiles and why."""
    note = writer.root / ".build" / f"{name}.skipped.json"
    if writer.has_shard(name):
        return json.loads(note.read_text(encoding="utf-8"))
    skipped: dict[str, str] = {}
    # A shard whose images are all broken is none.
    with contextlib.suppress(StudyError), writer.shard(name) as shard:
        for rows in _batches(records, AT_ONCE):
            # HDF5 is read by one thread; decoding runs in several.
            images = [_read(record) for record in rows]
            tiles = pool.map(lambda image: _tile(image, benchmark.tile_px), images)
            for record, tile in zip(rows, tiles, strict=True):
                if isinstance(tile, str):
                    skipped[record.tile_id] = tile
                    continue
                data, side = tile
                sample = _sample(benchmark, record)
                shard.add(
                    data,
                    tile_id=record.tile_id,
                    sample_id=sample,
                    patient_id=sample,
                    site=record.site or benchmark.name,
                    x=record.x,
                    y=record.y,
                    mpp=benchmark.mpp * side / benchmark.tile_px,
                    slide_id=record.slide_id or sample,
                    label=record.label,
                )
        # Written before the shard appears, so that a shard always has its note.
        write_json(note, skipped)
    return skipped


def _batches(records: Sequence[Record], size: int) -> list[Sequence[Record]]:
    return [records[start : start + size] for start in range(0, len(records), size)]


def _read(record: Record) -> bytes | np.ndarray | OSError:
    try:
        if isinstance(record.source, Path):
            return record.source.read_bytes()
        return record.source()
    except OSError as error:
        return error


def _tile(image: bytes | np.ndarray | OSError, px: int) -> tuple[bytes, int] | str:
    """See `stored_tile`; or why there is no tile."""
    try:
        return str(image) if isinstance(image, OSError) else stored_tile(image, px)
    except ValueError as error:
        return str(error)


def stored_tile(
    image: bytes | UInt8[np.ndarray, "H W 3"], px: int
) -> tuple[bytes, int]:
    """The bytes to store, and the short side of the published image in pixels.

    An image is resized and cropped as evaluation would do it first (data/preprocess.py)
    and stored as PNG; a PNG or JPEG of the right size is stored as published.

    Raises:
      ValueError: The image is damaged, too large, or has more than 8 bits per channel.
    """
    if isinstance(image, np.ndarray):
        return _resized_png(image, px), min(image.shape[:2])
    # Pillow's plugins raise almost anything on damaged files (SyntaxError, KeyError,
    # struct.error).
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as header:
            form, mode, size = header.format, header.mode, header.size
        if size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"{size[0]} x {size[1]} px, more than {MAX_PIXELS:,}")
        pixels = decode_tile(image)
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if size == (px, px) and mode == "RGB" and form in ("PNG", "JPEG"):
        return image, px
    return _resized_png(pixels, px), min(size)


def _resized_png(pixels: UInt8[np.ndarray, "H W 3"], px: int) -> bytes:
    tile = np.ascontiguousarray(Preprocess(px, px, "bilinear")(pixels))
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def _no_pillow_limit() -> Iterator[None]:
    """Lifts Pillow's limit of 89 megapixels; MAX_PIXELS is checked instead."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _study_mpp(benchmark: Benchmark, records: Sequence[Record]) -> float:
    """Of stored tiles; the median if the published images differ in size."""
    if not benchmark.sizes_vary:
        side = min(int(word) for word in benchmark.native.split(" x "))
        return benchmark.mpp * side / benchmark.tile_px
    sides = []
    for record in records:
        # A broken file is skipped later, with its reason.
        with (
            contextlib.suppress(Exception),
            Image.open(record.source, formats=FORMATS) as header,
        ):
            sides.append(min(header.size))
    side = float(np.median(sides)) if sides else benchmark.tile_px
    return benchmark.mpp * side / benchmark.tile_px


def _sample(benchmark: Benchmark, record: Record) -> str:
    """The patient; an image of an unknown patient is a sample of its own."""
    return record.patient_id or f"{benchmark.name}:{record.tile_id}"


def _hash(records: Sequence[Record]) -> str:
    """Identifies a listing, so that shards of two listings are never mixed."""
    digest = hashlib.sha256()
    for record in records:
        values = {
            field.name: getattr(record, field.name)
            for field in dataclasses.fields(record)
            if field.name != "source"
        }
        digest.update(json.dumps(values, sort_keys=True).encode())
    return digest.hexdigest()
