"""`pathjax bench tile`: cutting a large slide, against OpenSlide alone and histolab.

    pathjax bench tile [--peer --config.peer_python=PYTHON] [--config.data=DIR] [--out FILE]

A slide of 40,000 px and one of half its side are made of real tissue. On the large one
ours and OpenSlide with libjpeg take turns, with one thread and with several; the small
one is histolab's, on which it takes minutes, and ours beside it. Peak memory is that of
a fresh process for each slide.
"""

import dataclasses
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import pathjax
from pathjax.bench import tile_peer
from pathjax.bench.options import PRIVATE, BenchError, Common
from pathjax.bench.report import machine
from pathjax.bench.tile_slide import make_slide, tissue

BARS = {"openslide": 0.85, "histolab": 8.0, "memory": 1.3}


@dataclasses.dataclass(frozen=True)
class TileBenchOptions(Common):
    """Of `bench tile`; `contestants` means nothing here.

    Attributes:
      side: of the large slide in pixels; the other has half of it.
      data: folder with wsi/; "" takes PATHJAX_TEST_DATA.
    """

    rounds: int = 3
    side: int = 40_000
    data: str = ""


def measure(options: TileBenchOptions, peer: bool) -> dict[str, Any]:
    """Makes the slides and times everyone.

    Raises:
      BenchError: no tissue to make slides of, or a contestant that failed.
    """
    before, pixels = machine(), tissue(options.data)
    with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as name:
        folder = Path(name)
        large = make_slide(folder / "large.tiff", pixels, options.side)
        small = make_slide(folder / "small.tiff", pixels, options.side // 2)
        turns: dict[str, list[dict[str, Any]]] = {}
        for turn in range(options.rounds):
            for threads in dict.fromkeys((1, options.threads)):
                for who in ("ours", "openslide"):
                    found = _run(who, large, folder, threads, turn)
                    turns.setdefault(f"{who}, {threads}", []).append(found)
        quarter = _run("ours", small, folder, 1, options.rounds)
        peers = {}
        if peer:
            for check in ("tissue", "all"):
                peers[f"histolab, {check}"] = _histolab(small, folder, check, options)
            peers["ours"] = _run("ours", small, folder, 1, options.rounds + 1)
    return {
        "benchmark": "tile",
        "options": {
            key: value
            for key, value in dataclasses.asdict(options).items()
            if key not in (*PRIVATE, "data")
        },
        "versions": {"pathjax": pathjax.__version__},
        "machine": before,
        "turns": turns,
        "quarter": quarter,
        "small": peers,
        "ratios": ratios(turns, quarter, peers),
        "bars": BARS,
    }


def ratios(turns, quarter, peers) -> dict[str, float]:
    """Our rate over each peer's, the median over turns, and memory large over small."""
    found = {}
    for name, ours in turns.items():
        who, threads = name.split(", ")
        if who == "ours":
            theirs = turns[f"openslide, {threads}"]
            each = [rate(a) / rate(b) for a, b in zip(ours, theirs, strict=True)]
            found[f"openslide, {threads}"] = statistics.median(each)
    largest = max(one["peak"] for one in turns["ours, 1"])
    found["memory"] = largest / quarter["peak"]
    if peers:
        for name in sorted(peers.keys() - {"ours"}):
            found[name] = rate(peers["ours"]) / rate(peers[name])
    return found


def rate(one: dict[str, Any]) -> float:
    """Tiles a second."""
    return one["tiles"] / one["seconds"]


def _run(who: str, slide: Path, folder: Path, threads: int, turn: int) -> dict:
    out = folder / f"{slide.stem}-{threads}-{turn}"
    places = folder / f"{slide.stem}.npy"
    words = [who, str(slide), str(out), str(places), str(threads)]
    found = _json([sys.executable, "-m", "pathjax.bench.tile_worker", *words])
    shutil.rmtree(out, ignore_errors=True)  # a gigabyte in each turn; OpenSlide's: none
    return found


def _histolab(slide: Path, folder: Path, check: str, options: TileBenchOptions) -> dict:
    python = options.peer_python or sys.executable
    out = folder / f"histolab-{check}"
    out.mkdir()
    return _json([python, str(tile_peer.__file__), str(slide), str(out), check])


def _json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError(f"bench tile: {' '.join(command[:4])} failed, as said above")
    return json.loads(done.stdout.splitlines()[-1])


def show(found: dict[str, Any]) -> None:
    """Prints rates, ratios and bars."""
    table = Table(title="tiles of 224 px a second, and peak memory")
    for head in ("contestant, threads", "tiles", "tiles/s by turn", "peak MiB"):
        table.add_column(head)
    rows = found["turns"] | {"ours, 1 (a quarter of the size)": [found["quarter"]]}
    rows |= {f"{who} (a quarter)": [one] for who, one in found["small"].items()}
    for name, turns in rows.items():
        rates = ", ".join(f"{rate(one):.0f}" for one in turns)
        peaks = [one["peak"] / 2**20 for one in turns if "peak" in one]
        memory = f"{max(peaks):.0f}" if peaks else ""
        table.add_row(name, str(turns[0]["tiles"]), rates, memory)
    console = Console()
    console.print(table)
    for name, value in found["ratios"].items():
        console.print(f"{name}: {value:.2f}, wanted {BARS[name.split(',')[0]]}")
