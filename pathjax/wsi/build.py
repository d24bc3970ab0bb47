"""A study of tiles from slides: manifest -> a shard per slide -> tables -> study.

Running it again does what is missing: after an interruption, for slides that were
added, and for slides whose file, mpp or coordinates changed.
"""

import contextlib
import dataclasses
import functools
import os
from pathlib import Path

import pandas as pd

from pathjax.data.study import Split, Study, StudyError
from pathjax.optional_deps import need
from pathjax.parallel.shard import Shard, held
from pathjax.wsi.base import SlideError
from pathjax.wsi.cluster import Progress, run_slides
from pathjax.wsi.coordinates import find_coordinates
from pathjax.wsi.manifest import SlideRow, read_manifest
from pathjax.wsi.options import TileOptions
from pathjax.wsi.tile import SlideReport, forget_skipped, tile_slide


def tile_study(
    slides: str | Path,
    out: str | Path,
    options: TileOptions | None = None,
    *,
    name: str = "tiles",
    mpp_csv: str | Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    retry_skipped: bool = False,
    shard: Shard | None = None,
    progress: Progress | None = None,
) -> Study | list[SlideReport]:
    """Tiles all slides of a folder or a manifest, or a part of them.

    Args:
      slides: Folder or CSV (manifest.py).
      out: The study's directory.
      options: How slides are tiled.
      name: The study's name.
      mpp_csv: Micrometres per pixel by slide; takes precedence over what slides state.
      workers, scheduler: Where to run (cluster.py).
      retry_skipped: Tries slides again that an earlier run skipped, as after a storage
        fault; by default only those whose file, mpp or coordinates changed since.
      shard: Tiles only these slides and finishes no study. A call without one, when no
        shard is running, tiles what is missing and finishes it.
      progress: Called with slides done, slides in all and a note.

    Returns:
      A shard's reports, or the study: a sample per slide, unless the manifest joins slides; one split, "all",
      of one fold, "all". `Study.slides` has a row per slide, including skipped ones.

    Raises:
      ValueError: Slides cannot be listed.
      StudyError: No slide could be tiled, `out` was begun with other options, or another
        process has this shard, or any in a call without one.
      RuntimeError: The scheduler went away.
    """
    for module in ("openslide", "tifffile"):
        need(module, "wsi")
    options = options or TileOptions()
    slides, out = Path(slides), Path(out).absolute()
    if slides.is_dir() and out.resolve().is_relative_to(slides.resolve()):
        raise SlideError(
            f"{out} is inside the folder of slides {slides}, and its thumbnails would "
            "be taken for slides: choose another place for the study"
        )
    if options.coordinates is not None and not Path(options.coordinates).is_dir():
        raise SlideError(f"coordinates: expected a folder, got {options.coordinates}")
    manifest = read_manifest(slides, None if mpp_csv is None else Path(mpp_csv))
    rows = manifest.rows
    writer = options.writer(out, name, slides=str(slides))
    unused = [*manifest.unused, *_unused_coordinates(rows, options.coordinates)]
    for what, why in unused:
        writer.skip(what, why)
    # One process has all cores for a slide; several have one each.
    alone = scheduler is None and workers == 1
    threads = len(os.sched_getaffinity(0)) if alone else 1
    mine = shard.items(rows) if shard else rows
    if retry_skipped:
        forget_skipped(out, {row.slide_id for row in mine})
    work = functools.partial(
        tile_slide, root=str(out), options=options, threads=threads
    )
    with held(out / ".build", shard, StudyError):
        reports = run_slides(
            mine, work, workers=workers, scheduler=scheduler, progress=progress
        )
    if shard:
        return reports
    for report in reports:
        if report.status == "skipped":
            writer.skip(report.slide_id, report.reason)
        elif not writer.has_shard(report.slide_id):
            raise StudyError(
                f"a worker wrote the shard of {report.slide_id}, but it is not at "
                f"{out}: do all workers see this folder?"
            )
    table = _slide_table(rows, reports)
    tiled = table[table["status"] == "tiled"]
    columns = ["sample_id", "patient_id", "site"]
    samples = tiled[columns].drop_duplicates("sample_id").reset_index(drop=True)
    patients = tuple(sorted(set(samples["patient_id"])))
    everyone = Split("all", {"all": patients}, note="all slides, nothing held out")
    study = writer.finish(samples=samples, splits=[everyone], slides=table)
    # Killed processes may have left half-written files.
    for folder in (out, out / "tiles", out / "thumbnails", out / ".build"):
        for path in folder.glob(".partial-*"):
            path.unlink(missing_ok=True)
    return study


def _unused_coordinates(
    rows: list[SlideRow], folder: str | None
) -> list[tuple[str, str]]:
    """One line on the files of coordinates that belong to no slide."""
    if folder is None:
        return []
    used = set()
    for row in rows:
        with contextlib.suppress(SlideError):  # the slide's report will name it
            used.add(find_coordinates(Path(folder), row.slide_id, row.path))
    unused = sorted(set(Path(folder).glob("*.h5")) - used)
    if not unused:
        return []
    reason = f"{len(unused)} files of coordinates belong to no slide, first "
    return [(folder, reason + unused[0].name)]


def _slide_table(rows: list[SlideRow], reports: list[SlideReport]) -> pd.DataFrame:
    """The slide table as the writer takes it, a row per slide, in the rows' order."""
    owner = ("slide_id", "patient_id", "sample_id", "site", "path")
    return pd.DataFrame(
        dataclasses.asdict(report) | {key: getattr(row, key) for key in owner}
        for row, report in zip(rows, reports, strict=True)
    ).astype({"mpp": float, "tissue": float})
