"""One contestant of `bench tile` in a process of its own: tiles, seconds, peak memory.

    ours        `tile_slide`: overview, tissue, grid, thumbnail, tiles, shard, note
    openslide   read_region of the same tiles and libjpeg, and nothing else

`python -m pathjax.bench.tile_worker CONTESTANT SLIDE OUT PLACES THREADS` prints JSON.
"""

import concurrent.futures
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

from pathjax.bench.worker import peak_bytes as peak
from pathjax.data.images import encode_jpeg
from pathjax.data.study import read_frame
from pathjax.wsi.manifest import SlideRow
from pathjax.wsi.tile import TileOptions, tile_slide

TILE, MPP, QUALITY = 224, 0.5, 90


def ours(slide: Path, out: Path, places: Path, threads: int) -> int:
    """Tiles the slide into a study and leaves the corners of its tiles at `places`."""
    row = SlideRow(
        path=str(slide),
        slide_id="slide",
        patient_id="p",
        sample_id="s",
        site="x",
        mpp=MPP,
        mpp_source="bench",
    )
    options = TileOptions(mpp=MPP, tile_px=TILE, quality=QUALITY)
    report = tile_slide(row, out, options, threads=threads)
    if report.status != "tiled":
        raise ValueError(f"the slide was skipped: {report.reason}")
    rows = read_frame(out / ".build" / "slide.parquet")
    np.save(places, rows[["x", "y"]].to_numpy())
    return report.tiles


def openslide(slide: Path, out: Path, places: Path, threads: int) -> int:
    """Reads and encodes the same tiles, one by one; keeps nothing."""
    import openslide as library

    corners = np.load(places)
    handles = threading.local()

    def one(corner) -> int:
        if not hasattr(handles, "slide"):
            handles.slide = library.OpenSlide(str(slide))
        region = handles.slide.read_region(tuple(map(int, corner)), 0, (TILE, TILE))
        return len(encode_jpeg(np.asarray(region.convert("RGB")), QUALITY))

    if threads == 1:
        sizes = [one(corner) for corner in corners]
    else:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            sizes = list(pool.map(one, corners, chunksize=32))
    return len(sizes)


def main() -> None:
    name, slide, out, places, threads = sys.argv[1:]
    run = {"ours": ours, "openslide": openslide}[name]
    before, start = peak(), time.perf_counter()
    tiles = run(Path(slide), Path(out), Path(places), int(threads))
    seconds = time.perf_counter() - start
    found = {"tiles": tiles, "seconds": seconds, "before": before, "peak": peak()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
