"""`pathjax bench tile`: cutting a slide, against OpenSlide.

    pathjax bench tile --peer --config.slide=FILE.svs

*pathjax* is `tile_slide` with overview, tissue, grid, thumbnail, tiles, shard and note,
at the slide's own resolution; *openslide* reads and encodes the same tiles and keeps
nothing.
"""

import concurrent.futures
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import BenchError, Common, Entry
from pathjax.bench.worker import Contestant

TILE, QUALITY = 224, 90


@dataclass(frozen=True)
class Options(Common):
    """Options.

    Attributes:
      slide: A file that states its resolution; a whole slide, because on a small one the
        fixed work per slide dominates.
    """

    rounds: int = 3
    count: int = 1
    slide: str = ""


def entries(options: Options, folder: Path) -> list[Entry]:
    """All contestants, ours first."""

    def entry(name: str, label: str, kind: str, modules=(), threads: int = 1) -> Entry:
        values = {"slide": options.slide, "folder": str(folder), "threads": threads}
        contestant = f"pathjax.bench.tile:{kind}"
        label = f"{label}, {threads} thread{'s' * (threads > 1)}"
        return Entry(name, label, contestant, values, modules, extra="wsi")

    ours, peer, n = ("pathjax", "Tiler"), ("openslide", "Reader"), options.threads
    return [
        entry("pathjax", *ours),
        entry("openslide", *peer, ("openslide",)),
        entry("pathjax-threads", *ours, threads=n),
        entry("openslide-threads", *peer, ("openslide",), n),
    ]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Writes corners.npy, the corners of the tiles for OpenSlide.

    Raises:
      BenchError: no slide is named.
    """
    if not options.slide:
        raise BenchError("expected a slide: give --config.slide=FILE")
    corners = cut(Path(options.slide), folder / "first", 1)
    np.save(folder / "corners.npy", corners)
    return {"tiles": len(corners)}


def cut(slide: Path, out: Path, threads: int) -> np.ndarray:
    """Tiles a slide into a study at `out`; returns the corners of its tiles [N, 2].

    Raises:
      BenchError: the slide states no resolution, or has no tissue.
    """
    from pathjax.data.study_tables import read_frame
    from pathjax.wsi.manifest import SlideRow
    from pathjax.wsi.options import TileOptions
    from pathjax.wsi.slide import open_slide
    from pathjax.wsi.tile import tile_slide

    opened = open_slide(slide)
    mpp = opened.mpp
    opened.close()
    if mpp is None:
        raise BenchError(f"{slide} does not state its resolution: name another slide")
    row = SlideRow("slide", "p", "s", "x", str(slide))
    options = TileOptions(mpp=mpp, tile_px=TILE, quality=QUALITY)
    report = tile_slide(row, out, options, threads=threads)
    if report.status != "tiled":
        raise BenchError(f"{slide} was skipped: {report.reason}")
    return read_frame(out / ".build" / "slide.parquet")[["x", "y"]].to_numpy()


class Tiler(Contestant):
    """Our tiler."""

    def __init__(self, options: dict[str, Any]):
        import openslide

        import pathjax
        import pathjax.wsi.tile  # imported before the first turn, as in a long run

        self._slide, self._threads = Path(options["slide"]), options["threads"]
        self._folder = Path(options["folder"])
        self._out = self._folder / f"study{self._threads}"
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
        outs = [self._out / str(number) for number in range(count)]
        return sum(len(cut(self._slide, out, self._threads)) for out in outs)


class Reader(Tiler):
    """OpenSlide's `read_region` of the same tiles, and libjpeg."""

    def prepare(self) -> None:
        self._corners = np.load(self._folder / "corners.npy")

    def run(self, count: int) -> int:
        """Reads the tiles `count` times."""
        import openslide

        from pathjax.data.images import encode_jpeg

        handles = threading.local()

        def encode(corner) -> None:
            if not hasattr(handles, "slide"):
                handles.slide = openslide.OpenSlide(str(self._slide))
            region = handles.slide.read_region(tuple(map(int, corner)), 0, (TILE, TILE))
            encode_jpeg(np.asarray(region.convert("RGB")), QUALITY)

        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            for _ in range(count):
                list(pool.map(encode, self._corners))
        return count * len(self._corners)
