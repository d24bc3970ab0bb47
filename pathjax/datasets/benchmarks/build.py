"""Builds a benchmark's study: listing, counts against the published ones, shards.

A shard holds up to 1,024 images of one fold in published order. An image that cannot
be read costs that image; it is named in study.json, also where an interrupted build
goes on. What leaves the folds in doubt is an error: another count than published
(unless `partial`), an unknown label, a patient in two folds.
"""

import collections
import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.data.study import Split, Study, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.benchmarks.acquire import acquire, default_cache
from pathjax.datasets.benchmarks.benchmark import Benchmark, BenchmarkError, Record
from pathjax.datasets.benchmarks.stored import own_pixel_limit, short_side, stored_tile
from pathjax.files import write_json

PER_SHARD = 1024
AT_ONCE = 16  # images read before they are encoded side by side; BRACS has large ones
SPLIT = "benchmark"
TARGET = "label"


class _NothingWholeError(Exception):
    """All images of a shard are broken."""


def build_benchmark(
    benchmark: Benchmark,
    out: str | Path,
    *,
    manual_dir: str | Path | None = None,
    cache: str | Path | None = None,
    partial: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Builds the study, or what of it is missing in `out`.

    Args:
      benchmark: which, from `registry.BENCHMARKS`.
      out: the study's directory.
      manual_dir: where the published files lie, as downloaded or unpacked; None to
        download them.
      cache: for downloads and unpacked archives; None for `default_cache()`.
      partial: accept other counts than published; the difference stands in the
        provenance.
      progress: called with (images done, images in all).

    Returns:
      The study: tiles carry the class `label`, the split `benchmark` has the folds.

    Raises:
      BenchmarkError: files are missing, damaged or not what is published.
      StudyError: `out` was begun with other parameters, or nothing could be stored.
    """
    found = acquire(
        benchmark,
        None if manual_dir is None else Path(manual_dir),
        default_cache() if cache is None else Path(cache),
    )
    records = listed(benchmark, {key: part.path for key, part in found.items()})
    difference = count_difference(benchmark, records)
    if difference and not partial:
        raise BenchmarkError(
            f"{benchmark.name} is not complete: {difference}. Unpack the published "
            "archives anew, or accept the part that is there with --partial"
        )
    writer = StudyWriter(
        out,
        name=benchmark.name,
        tile_px=benchmark.tile_px,
        mpp=_study_mpp(benchmark, records),
        gene_id_type=None,
        synthetic=False,
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
            "parts": {key: part.facts for key, part in found.items()},
        },
        build={
            "benchmark": benchmark.name,
            "tile_px": benchmark.tile_px,
            "images": len(records),
            "listing": _fingerprint(records),
        },
    )
    skipped: dict[str, str] = {}
    done = 0
    with own_pixel_limit(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, part in _shards(benchmark, records):
            skipped |= _shard(writer, benchmark, name, part, pool)
            done += len(part)
            if progress:
                progress(done, len(records))
    for tile_id, reason in skipped.items():
        writer.skip(tile_id, reason)
    kept = [record for record in records if record.tile_id not in skipped]
    samples = {_sample(benchmark, record): _site(benchmark, record) for record in kept}
    return writer.finish(
        samples=pd.DataFrame(
            {
                "sample_id": list(samples),
                "patient_id": list(samples),
                "site": list(samples.values()),
            }
        ),
        targets=[
            Target(TARGET, "tile", "class", benchmark.classes, benchmark.title),
        ],
        splits=[_split(benchmark, kept)],
    )


def listed(benchmark: Benchmark, parts: dict[str, Path]) -> list[Record]:
    """All records, each fold's together.

    Raises:
      BenchmarkError: there are none, an id occurs twice, or a patient is in two folds.
    """
    records = list(benchmark.read(parts))
    if not records:
        raise BenchmarkError(
            f"no image of {benchmark.name} in {', '.join(map(str, parts.values()))}: "
            "unpack the published archives anew"
        )
    twice = [
        one
        for one, count in collections.Counter(r.tile_id for r in records).items()
        if count > 1
    ]
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
                f"{fold_of[patient]} and {record.fold}, last seen with "
                f"{record.tile_id}: the files are not as published"
            )
    order = list(benchmark.counts)
    return sorted(records, key=lambda record: order.index(record.fold))


def count_difference(benchmark: Benchmark, records: Sequence[Record]) -> str:
    """Found against published counts per fold; empty where they agree."""
    found = collections.Counter(record.fold for record in records)
    return ", ".join(
        f"{fold} {found[fold]:,} images for {expected:,} published"
        for fold, expected in benchmark.counts.items()
        if found[fold] != expected
    )


def _shards(benchmark: Benchmark, records: Sequence[Record]):
    for fold, group in itertools.groupby(records, key=lambda record: record.fold):
        own = list(group)
        for i, start in enumerate(range(0, len(own), PER_SHARD)):
            yield f"{fold}-{i:04d}", own[start : start + PER_SHARD]


def _shard(
    writer: StudyWriter,
    benchmark: Benchmark,
    name: str,
    records: Sequence[Record],
    pool: ThreadPoolExecutor,
) -> dict[str, str]:
    """Writes a shard where it is not there yet; returns what was skipped and why."""
    note = writer.root / ".build" / f"{name}.skipped.json"
    if writer.has_shard(name):
        return json.loads(note.read_text(encoding="utf-8"))
    skipped: dict[str, str] = {}
    try:
        with writer.shard(name) as shard:
            for start in range(0, len(records), AT_ONCE):
                some = records[start : start + AT_ONCE]
                # Read here, for HDF5 is read by one thread; decoded side by side.
                images = [_read(record) for record in some]
                tiles = pool.map(lambda one: _tile(one, benchmark.tile_px), images)
                for record, tile in zip(some, tiles, strict=True):
                    if isinstance(tile, str):
                        skipped[record.tile_id] = tile
                    else:
                        _add(shard, benchmark, record, *tile)
            if not shard.rows:
                raise _NothingWholeError
            # Before the shard appears: with a shard there is always its note.
            write_json(note, skipped)
    except _NothingWholeError:
        pass
    return skipped


def _read(record: Record) -> bytes | np.ndarray | OSError:
    try:
        if isinstance(record.source, Path):
            return record.source.read_bytes()
        return record.source.read()
    except OSError as error:
        return error


def _tile(image: bytes | np.ndarray | OSError, px: int) -> tuple[bytes, int] | str:
    """The bytes to store and the image's short side, or why there are none."""
    if isinstance(image, OSError):
        return str(image)
    try:
        return stored_tile(image, px)
    except ValueError as error:
        return str(error)


def _add(shard, benchmark: Benchmark, record: Record, data: bytes, side: int) -> None:
    sample = _sample(benchmark, record)
    shard.add(
        data,
        tile_id=record.tile_id,
        sample_id=sample,
        patient_id=sample,
        site=_site(benchmark, record),
        x=record.x,
        y=record.y,
        mpp=benchmark.mpp * side / benchmark.tile_px,
        slide_id=record.slide_id or sample,
        **{TARGET: record.label},
    )


def _sample(benchmark: Benchmark, record: Record) -> str:
    """The patient, or where none is known the image as its own."""
    return record.patient_id or f"{benchmark.name}:{record.tile_id}"


def _site(benchmark: Benchmark, record: Record) -> str:
    return record.site or benchmark.name


def _split(benchmark: Benchmark, records: Sequence[Record]) -> Split:
    folds: dict[str, dict[str, None]] = {}
    for record in records:
        folds.setdefault(record.fold, {})[_sample(benchmark, record)] = None
    return Split(
        SPLIT,
        {fold: tuple(ids) for fold, ids in folds.items()},
        note=f"{benchmark.rule}; patients: {benchmark.patients}",
    )


def _study_mpp(benchmark: Benchmark, records: Sequence[Record]) -> float:
    """Of stored tiles; the median where the published images differ in size."""
    if benchmark.sizes_vary:
        with own_pixel_limit():
            sides = [short_side(record.source) for record in records]
        known = [side for side in sides if side is not None]
        side = float(np.median(known)) if known else benchmark.tile_px
    else:
        side = min(int(word) for word in benchmark.native.split(" x "))
    return benchmark.mpp * side / benchmark.tile_px


def _fingerprint(records: Sequence[Record]) -> str:
    """Tells listings apart, so that shards of two are never mixed."""
    hashed = hashlib.sha256()
    for record in records:
        facts: dict[str, Any] = {
            field.name: getattr(record, field.name)
            for field in dataclasses.fields(record)
            if field.name != "source"
        }
        hashed.update(json.dumps(facts, sort_keys=True).encode())
    return hashed.hexdigest()
