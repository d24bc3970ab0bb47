"""One slide to one shard: the unit of work, safe to repeat and to run on any machine.

    SlideRow -> open -> mpp -> overview -> tissue -> grid -> tiles -> shard, report

A slide that cannot be used gives a report with the reason; exceptions mean that the
study cannot be written. The report is kept next to the shard, so that repeating the
call returns it at once.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from pathjax.data.study_writer import StudyWriter
from pathjax.files import write_json
from pathjax.wsi.base import Slide, SlideError
from pathjax.wsi.coordinates import (
    check_coordinates,
    find_coordinates,
    read_coordinates,
)
from pathjax.wsi.cut import encoded_tiles
from pathjax.wsi.grid import grid, sample_places, tissue_share
from pathjax.wsi.manifest import SlideRow
from pathjax.wsi.options import TileOptions
from pathjax.wsi.overview import draw, read_overview
from pathjax.wsi.scale import Reading, plan_reading, slide_mpp
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tissue import find_tissue

NOTE = ".slide.json"


@dataclasses.dataclass(frozen=True)
class SlideReport:
    """Result of one slide; the columns of slides.parquet of the same names."""

    slide_id: str
    status: str  # "tiled" or "skipped"
    reason: str = ""  # why it was skipped
    width: int = 0  # of level 0, in pixels; 0 where it could not be opened
    height: int = 0
    mpp: float | None = None  # of level 0, None where unknown
    mpp_source: str = ""
    tissue: float | None = None  # share of the area, None where not searched
    tiles: int = 0  # number kept
    reader: str = ""  # what decoded them


def tile_slide(
    row: SlideRow, root: str | Path, options: TileOptions, threads: int = 1
) -> SlideReport:
    """Tiles one slide into the study begun at `root`.

    Does nothing if it was done before for the same file with the same options. After a
    kill, repeating it completes the work. `threads` read and encode; their number does
    not change the result.

    Raises:
      OSError, StudyError: The study cannot be written.
    """
    writer = options.writer(root)
    note = writer.root / ".build" / f"{row.slide_id}{NOTE}"
    sources = _sources(row, options)
    if note.is_file():
        noted = json.loads(note.read_text(encoding="utf-8"))
        report = SlideReport(**noted["report"])
        if noted["sources"] == sources and (
            report.status == "skipped" or writer.has_shard(row.slide_id)
        ):
            return report
    seen: dict[str, Any] = {"mpp": row.mpp, "mpp_source": row.mpp_source}
    try:
        _tile(row, writer, options, threads, seen)
        report = SlideReport(row.slide_id, "tiled", **seen)
    except SlideError as error:
        report = SlideReport(row.slide_id, "skipped", str(error), **seen)
        # A shard may remain from before the file was replaced.
        (writer.root / "tiles" / f"{row.slide_id}.array_record").unlink(missing_ok=True)
    write_json(note, {"sources": sources, "report": dataclasses.asdict(report)})
    return report


def forget_skipped(root: Path, slides: Collection[str]) -> None:
    """Removes the reports of those slides that were skipped: they are tried again."""
    for note in (root / ".build").glob(f"*{NOTE}"):
        noted = json.loads(note.read_text(encoding="utf-8"))
        report = noted["report"]
        if report["status"] == "skipped" and report["slide_id"] in slides:
            note.unlink()


def _sources(row: SlideRow, options: TileOptions) -> dict[str, Any]:
    """What decides the result besides the options: the row and the files' identity."""
    sources: dict[str, Any] = dataclasses.asdict(row)
    files = {"slide": Path(row.path)}
    if options.coordinates is not None:
        with contextlib.suppress(SlideError):  # the report will name it
            folder = Path(options.coordinates)
            files["coordinates"] = find_coordinates(folder, row.slide_id, row.path)
    for name, path in files.items():
        with contextlib.suppress(OSError):  # the report will name it too
            stat = path.stat()
            sources[f"{name}_bytes"] = stat.st_size
            sources[f"{name}_mtime"] = stat.st_mtime_ns
    return sources


def _tile(
    row: SlideRow,
    writer: StudyWriter,
    options: TileOptions,
    threads: int,
    seen: dict[str, Any],
) -> None:
    """Writes thumbnail and shard; fills `seen` for the report, also before a failure."""
    with contextlib.closing(open_slide(row.path)) as slide:
        seen |= {"width": slide.levels[0].width, "height": slide.levels[0].height}
        mpp = slide_mpp(slide, row.mpp)
        seen["mpp"] = mpp
        seen["mpp_source"] = slide.mpp_source if row.mpp is None else row.mpp_source
        reading = plan_reading(slide.levels, mpp, options.mpp, options.tile_px)
        overview = read_overview(slide, mpp)
        if options.coordinates is None:
            tissue = find_tissue(overview.pixels, overview.mpp, options.tissue)
            seen["tissue"] = float(tissue.mean())
            stride = (options.tile_px - options.overlap) * options.mpp / mpp
            places = grid(slide.bounds, stride, reading.extent)
            share = tissue_share(tissue, overview.scale, places, reading.extent)
            places = places[share >= options.min_tissue]
        else:
            tissue = None
            places, reading = _given_places(row, slide, mpp, reading, options)
        if options.max_tiles is not None:
            places = sample_places(
                places, options.max_tiles, row.slide_id, options.seed
            )
        thumbnail = writer.root / "thumbnails" / f"{row.slide_id}.jpg"
        draw(thumbnail, overview, tissue, places, reading.extent)
        del overview, tissue
        if not len(places):
            raise SlideError(
                f"no tile has {options.min_tissue:g} of tissue ({seen['tissue']:.3f} of "
                f"the slide is tissue): see thumbnails/{thumbnail.name}"
            )
        with writer.shard(row.slide_id) as shard:
            tiles = encoded_tiles(slide, places, reading, options.quality, threads)
            for (x, y), data in zip(places.tolist(), tiles, strict=True):
                shard.add(
                    data,
                    tile_id=f"{row.slide_id}_{x}_{y}",
                    sample_id=row.sample_id,
                    patient_id=row.patient_id,
                    site=row.site,
                    x=x,
                    y=y,
                    mpp=mpp * reading.extent / options.tile_px,
                )
        seen["tiles"] = len(places)
        seen["reader"] = slide.levels[reading.level].reader


def _given_places(
    row: SlideRow, slide: Slide, mpp: float, reading: Reading, options: TileOptions
) -> tuple[Int[np.ndarray, "n 2"], Reading]:
    """Corners by TRIDENT or CLAM, and the reading at the size that they state."""
    path = find_coordinates(Path(options.coordinates), row.slide_id, row.path)
    given = read_coordinates(path)
    check_coordinates(path, given, slide, options.tile_px * options.mpp / mpp)
    factor = slide.levels[reading.level].downsample
    side = max(1, math.floor(given.side / factor + 0.5))
    return given.places, dataclasses.replace(reading, side=side, extent=side * factor)
