"""Work on slides that fails in the ways work can: for Dask's workers to import."""

import os
import signal
import time
from pathlib import Path

from pathjax.data.slides.manifest import SlideRow
from pathjax.data.slides.tile import SlideReport, TileOptions, tile_slide


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
    row: SlideRow, root: str, options: TileOptions, seconds: float
) -> SlideReport:
    """`tile_slide` with a pause, so that there is time to kill it; logs who began it."""
    log = Path(root).with_suffix(".log")
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{row.slide_id} {os.getpid()}\n")
    time.sleep(seconds)
    return tile_slide(row, root, options)
