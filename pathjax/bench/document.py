"""docs/performance.md's tables, made from the JSON that `pathjax bench` writes.

    python -m pathjax.bench.document [docs/performance.md]

Between `<!-- bench: data/FILE.json -->` and `<!-- end -->` stands the table of that file;
all else is prose and is left as it is. So no figure is copied by hand.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pathjax.files import write_text

BLOCK = re.compile(r"(<!-- bench: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What a ratio of medians was asked to reach: (benchmark, of, to).
BARS = {
    ("step", "pathjax", "torch"): 1.4,
    ("forward", "pathjax", "torch"): 1.5,
    ("forward", "pathjax-bf16", "torch-bf16"): 1.0,
    ("loader", "pathjax", "tf.data"): 1.0,
    ("loader", "pathjax", "limit-threads"): 0.8,
}
SECONDS_TO_FIRST_BATCH, BYTES_TO_FIRST_BATCH = 10, 2e9  # bars of `bench index`


def document(text: str, folder: Path) -> str:
    """The text with every block made anew.

    Args:
      text: Markdown.
      folder: what the blocks' paths are relative to.

    Raises:
      ValueError: a block that is not closed, or a benchmark without a table.
    """
    if text.count("<!-- bench:") != len(BLOCK.findall(text)):
        raise ValueError("a <!-- bench: ... --> has no <!-- end -->")

    def fill(block: re.Match) -> str:
        found = json.loads((folder / block[2]).read_text(encoding="utf-8"))
        what = found.get("what") or found.get("benchmark")
        if what not in TABLES:
            raise ValueError(f"{block[2]} is of bench {what}: there is no table of it")
        return f"{block[1]}\n{TABLES[what](found)}\n{block[3]}"

    return BLOCK.sub(fill, text)


def contest(found: dict[str, Any]) -> str:
    """Rates of all contestants, and the ratios that have a bar or a peer."""
    shares = bool(found["matrix_gflops"])
    head = ["", "images/s, median (range)", *["of the matrix rate"] * shares]
    rows = []
    for one in found["contestants"].values():
        row = [one["label"], _range(one["images_per_second"], ".4g")]
        if shares:
            row.append(f"{one['share_of_matrix_rate']:.0%}")
        rows.append(row)
    names = {name: one["label"] for name, one in found["contestants"].items()}
    ratios = []
    for ratio in found["ratios"]:
        bar = BARS.get((found["what"], ratio["of"], ratio["to"]))
        told = _range(ratio, ".2f") + _met(ratio["median"], bar)
        ratios.append([f"{names[ratio['of']]} / {names[ratio['to']]}", told])
    return table(head, rows) + "\n" + table(["ratio", "median (range)"], ratios)


def index(found: dict[str, Any]) -> str:
    """From a fresh process to the first batch."""
    opened, gigabyte = found["opened"], 1e9
    parts = [
        ("imports", "import"),
        ("opening", "open"),
        ("training fold", "gather"),
        ("first batch", "first_batch"),
    ]
    rows = [[label, f"{opened[key]:.2f} s"] for label, key in parts]
    rows.append(
        [
            "in all",
            f"{opened['total']:.2f} s"
            + _met(opened["total"], SECONDS_TO_FIRST_BATCH, less=True),
        ]
    )
    rows.append(["each batch after", f"{opened['next_batches_each']:.2f} s"])
    peak = opened["peak_bytes"]
    rows.append(
        [
            "peak memory",
            f"{peak / gigabyte:.2f} GB"
            + _met(peak / gigabyte, BYTES_TO_FIRST_BATCH / gigabyte, less=True),
        ]
    )
    return table(["", f"{found['built']['rows']:,} tiles"], rows)


def memory(found: dict[str, Any]) -> str:
    """Gradients and optimiser by how much of the encoder is trained."""
    rows = [
        [
            mode,
            f"{one['trained'] / 1e6:.1f} M",
            f"{one['gradient_bytes'] / 2**20:.1f} MiB",
            f"{one['optimizer_bytes'] / 2**20:.1f} MiB",
            f"{one['share']:.2%}",
        ]
        for mode, one in found["modes"].items()
    ]
    return table(["mode", "trained", "gradients", "optimiser", "of full"], rows)


def tile(found: dict[str, Any]) -> str:
    """Tiles a second in turns, and the ratios."""
    rows = [
        [name, ", ".join(f"{one['tiles'] / one['seconds']:.0f}" for one in turns)]
        for name, turns in found["turns"].items()
    ]
    rows += [
        [f"{name} (small slide)", f"{one['tiles'] / one['seconds']:.0f}"]
        for name, one in found["small"].items()
    ]
    ratios = []
    for name, value in found["ratios"].items():
        bar = found["bars"][name.split(",")[0]]
        met = _met(value, bar, less=name == "memory")
        of = "memory, large / small slide" if name == "memory" else f"ours / {name}"
        ratios.append([of, f"{value:.2f}{met}"])
    return (
        table(["contestant, threads", "tiles/s by turn"], rows)
        + "\n"
        + table(["ratio", ""], ratios)
    )


def scale(found: dict[str, Any]) -> str:
    """Rate, efficiency and bytes by number of devices."""
    rows = [
        [
            f"{one['devices']} {one['mesh']}",
            str(one["batch"]),
            _range(one["images_per_second"], ".4g"),
            _range(one["efficiency"], ".2f"),
            f"{one['arguments_bytes'] / 2**20:.0f}",
            f"{one['temporaries_bytes'] / 2**20:.0f}",
        ]
        for one in found["sizes"]
    ]
    return table(
        [
            f"devices ({found['device']})",
            "batch",
            "images/s (range)",
            "efficiency (range)",
            "arguments, MiB",
            "temporaries, MiB",
        ],
        rows,
    )


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "step": contest,
    "forward": contest,
    "loader": contest,
    "index": index,
    "memory": memory,
    "tile": tile,
    "scale": scale,
}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _range(values: dict[str, Any], form: str) -> str:
    median, low, high = (format(values[k], form) for k in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def _met(value: float, bar: float | None, less: bool = False) -> str:
    if bar is None:
        return ""
    met = value <= bar if less else value >= bar
    return f"; the bar is {bar:g}: {'met' if met else '**not met**'}"


def main(argv: Sequence[str] | None = None) -> None:
    """Fills the blocks of a document in place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "path", type=Path, nargs="?", default=Path("docs/performance.md")
    )
    path = parser.parse_args(argv).path
    write_text(path, document(path.read_text(encoding="utf-8"), path.parent))


if __name__ == "__main__":
    main()
