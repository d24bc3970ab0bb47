"""A study of tiles from slides: manifest -> every slide's shard -> tables -> study.

Run again, it does what is missing: after an interruption, for slides that were added,
and for slides whose file, mpp or coordinates changed.
"""

import dataclasses
import functools
import os
from pathlib import Path

import pandas as pd

from pathjax.data.study import Split, Study, StudyError
from pathjax.optional_deps import need
from pathjax.wsi.cluster import Progress, run_slides
from pathjax.wsi.manifest import ManifestError, SlideRow, read_manifest
from pathjax.wsi.tile import SlideReport, TileOptions, forget_skipped, tile_slide


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
    progress: Progress | None = None,
) -> Study:
    """Tiles all slides of a folder or a manifest.

    Args:
      slides: folder, or CSV (manifest.py).
      out: the study's directory.
      options: what tiles are wanted.
      name: the study's name.
      mpp_csv: micrometres per pixel by slide; goes before what slides say.
      workers, scheduler: where (cluster.py).
      retry_skipped: tries slides again that an earlier run skipped, as after a fault of
        the storage; else only those whose file, mpp or coordinates changed since.
      progress: called with slides done, slides in all and a note.

    Returns:
      The study: a sample per slide, unless the manifest joins slides; one split, "all",
      of one fold, "all". `Study.slides` has a row per slide, skipped ones too.

    Raises:
      ManifestError: slides cannot be listed; everything at once.
      StudyError: not one slide could be tiled, or `out` was begun with other options.
      ClusterError: the scheduler went away.
    """
    for module in ("openslide", "tifffile"):
        need(module, "wsi")
    options = options or TileOptions()
    slides, out = Path(slides), Path(out).absolute()
    if slides.is_dir() and out.resolve().is_relative_to(slides.resolve()):
        raise ManifestError(
            f"{out} lies among the slides in {slides}: its thumbnails would be taken "
            "for slides; choose another place for the study"
        )
    rows = read_manifest(slides, None if mpp_csv is None else Path(mpp_csv))
    writer = options.writer(out, name, slides=str(slides))
    # One process has all cores for a slide; several have one each.
    alone = scheduler is None and workers == 1
    threads = len(os.sched_getaffinity(0)) if alone else 1
    if retry_skipped:
        forget_skipped(out)
    work = functools.partial(
        tile_slide, root=str(out), options=options, threads=threads
    )
    reports = run_slides(
        rows, work, workers=workers, scheduler=scheduler, progress=progress
    )
    table = slide_table(rows, reports)
    tiled = table[table["status"] == "tiled"]
    for report in reports:
        if report.status == "skipped":
            writer.skip(report.slide_id, report.reason)
        elif not writer.has_shard(report.slide_id):
            raise StudyError(
                f"the shard of {report.slide_id} was written by a worker and is not at "
                f"{out}: do all workers see this folder?"
            )
    columns = ["sample_id", "patient_id", "site"]
    samples = tiled[columns].drop_duplicates("sample_id").reset_index(drop=True)
    patients = tuple(sorted(set(samples["patient_id"])))
    everyone = Split("all", {"all": patients}, note="all slides, nothing held out")
    study = writer.finish(samples=samples, targets=[], splits=[everyone], slides=table)
    sweep(out)
    return study


def slide_table(rows: list[SlideRow], reports: list[SlideReport]) -> pd.DataFrame:
    """The slide table as the writer takes it, a row per slide, in the rows' order."""
    return pd.DataFrame(
        {
            **dataclasses.asdict(report),
            **{
                key: value
                for key, value in dataclasses.asdict(row).items()
                if not key.startswith("mpp")
            },
        }
        for row, report in zip(rows, reports, strict=True)
    ).astype({"mpp": float, "tissue": float})


def sweep(out: Path) -> None:
    """Removes what killed processes left half-written."""
    for folder in (out, out / "tiles", out / "thumbnails", out / ".build"):
        for path in folder.glob(".partial-*"):
            path.unlink(missing_ok=True)
