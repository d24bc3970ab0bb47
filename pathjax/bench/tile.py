"""`pathjax bench tile`: cutting a large slide, against OpenSlide and histolab.

    pathjax bench tile [--peer --config.peer_python=PYTHON] [--config.data=DIR] [--out FILE]

A slide of 40,000 px and one of half its side are made of real tissue. *pathjax* is
`tile_slide` with overview, tissue, grid, thumbnail, tiles, shard and note; *openslide*
reads and encodes the same tiles and keeps nothing. histolab gets the small slide.
"""

import concurrent.futures
import dataclasses
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import Common
from pathjax.bench.runner import Entry
from pathjax.bench.worker import Contestant, serve

TILE, MPP, QUALITY = 224, 0.5, 90


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Slides.

    Attributes:
      side: Of the large slide in pixels; the small one has half of it.
      data: Folder with wsi/; "" takes PATHJAX_TEST_DATA.
    """

    rounds: int = 3
    count: int = 1
    side: int = 40_000
    data: str = ""


def entries(options: Options, folder: Path) -> list[Entry]:
    """All contestants, ours first."""

    def entry(name: str, label: str, slide: str, threads: int) -> Entry:
        kind = "ours" if name.startswith("pathjax") else "openslide"
        values = {
            "kind": kind,
            "slide": str(folder / f"{slide}.tiff"),
            "out": str(folder / name),
            "threads": threads,
        }
        return Entry(name, label, "pathjax.bench.tile", values, kind == "openslide")

    def histolab(check: str) -> Entry:
        values = {
            "slide": str(folder / "small.tiff"),
            "out": str(folder / f"histolab-{check}"),
            "check": check,
            "threads": 1,
        }
        return Entry(
            f"histolab-{check}",
            f"histolab, {check} (small slide)",
            "pathjax.bench.tile_peer",
            values,
            peer=True,
            modules=("histolab",),
        )

    several = options.threads
    found = [
        entry("pathjax", "pathjax, 1 thread", "large", 1),
        entry("openslide", "openslide, 1 thread", "large", 1),
        entry("pathjax-threads", f"pathjax, {several} threads", "large", several),
        entry("openslide-threads", f"openslide, {several} threads", "large", several),
        entry("pathjax-small", "pathjax, 1 thread (small slide)", "small", 1),
    ]
    return [*found, histolab("tissue"), histolab("all")]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Writes both slides, and the corners of their tiles for OpenSlide."""
    from pathjax.bench.tile_slide import make_slide, tissue

    pixels = tissue(options.data)
    for name, side in (("large", options.side), ("small", options.side // 2)):
        slide = make_slide(folder / f"{name}.tiff", pixels, side)
        np.save(slide.with_suffix(".npy"), cut(slide, folder / "first", 1))
        shutil.rmtree(folder / "first")
    return {}


def cut(slide: Path, out: Path, threads: int) -> np.ndarray:
    """Tiles a slide into a study at `out`; returns the corners of its tiles [N, 2]."""
    from pathjax.data.study import read_frame
    from pathjax.wsi.manifest import SlideRow
    from pathjax.wsi.tile import TileOptions, tile_slide

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
    return read_frame(out / ".build" / "slide.parquet")[["x", "y"]].to_numpy()


class Tiler(Contestant):
    """Ours, or OpenSlide's `read_region` of the same tiles and libjpeg."""

    def __init__(self, options: dict[str, Any]):
        import openslide

        import pathjax
        import pathjax.wsi.tile

        self._slide, self._out = Path(options["slide"]), Path(options["out"])
        self._kind, self._threads = options["kind"], options["threads"]
        self.info = {
            "unit": "tiles",
            "versions": {
                "pathjax": pathjax.__version__,
                "openslide": openslide.__library_version__,
            },
            "threads": self._threads,
            "note": self._slide.name,
        }

    def prepare(self) -> None:
        shutil.rmtree(self._out, ignore_errors=True)

    def run(self, count: int) -> int:
        """Cuts the slide `count` times."""
        tiles = 0
        for number in range(count):
            if self._kind == "ours":
                out = self._out / str(number)
                tiles += len(cut(self._slide, out, self._threads))
            else:
                tiles += self._read()
        return tiles

    def _read(self) -> int:
        import openslide

        from pathjax.data.images import encode_jpeg

        handles = threading.local()

        def encode(corner) -> int:
            if not hasattr(handles, "slide"):
                handles.slide = openslide.OpenSlide(str(self._slide))
            region = handles.slide.read_region(tuple(map(int, corner)), 0, (TILE, TILE))
            return len(encode_jpeg(np.asarray(region.convert("RGB")), QUALITY))

        corners = np.load(self._slide.with_suffix(".npy"))
        if self._threads == 1:
            return len([encode(corner) for corner in corners])
        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            return len(list(pool.map(encode, corners, chunksize=32)))


def summary(result: dict[str, Any]) -> list[str]:
    """Peak memory on the large slide over that on the small one."""
    contestants = result["contestants"]
    if not {"pathjax", "pathjax-small"} <= contestants.keys():
        return []
    large, small = (
        contestants[name]["peak_resident_bytes"]
        for name in ("pathjax", "pathjax-small")
    )
    return [f"peak memory, large / small slide: {large / small:.2f}"]


if __name__ == "__main__":
    serve(Tiler)
