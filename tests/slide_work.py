"""Work on slides that fails in the ways work can: for Dask's workers to import."""

import os
import signal
import time
from pathlib import Path

from pathjax.data.records import Records
from pathjax.wsi.manifest import SlideRow
from pathjax.wsi.options import TileOptions
from pathjax.wsi.tile import SlideReport, tile_slide


def note(row: SlideRow) -> SlideReport:
    """Does as the slide's name says; else reports a tile."""
    kind = row.slide_id.split("-")[0]
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "bug":
        raise ZeroDivisionError("by zero")
    if kind == "full":
        raise OSError(28, "No space left on device")
    return SlideReport(row.slide_id, "tiled", tiles=1)


def slow_tile(
    row: SlideRow, root: str, options: TileOptions, threads: int, seconds: float
) -> SlideReport:
    """`tile_slide` that takes longer, so that there is time to kill it."""
    time.sleep(seconds)
    return tile_slide(row, root, options, threads)


def tile_damaged(path: Path, root: str, mpp: float | None) -> tuple[SlideReport, bool]:
    """Tiles a file, then removes it; the report, and whether it fits what is there."""
    row = SlideRow(path.stem, "P", path.stem, "x", str(path), mpp)
    report = tile_slide(row, root, TileOptions(tile_px=64, max_tiles=6))
    path.unlink()
    shard = Path(root) / "tiles" / f"{row.slide_id}.array_record"
    if report.status == "skipped":
        return report, bool(report.reason) and not shard.exists()
    found = Records([shard], [report.tiles]).read(range(report.tiles))
    return report, all(found) and len(found) == report.tiles > 0
