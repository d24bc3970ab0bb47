"""`pathjax bench index`: opening a study of 10^8 tiles and drawing its first batch.

    pathjax bench index [--config.slides=11000] [--config.folder=DIR] [--out FILE]

The study is made once (`index_study.py`) and opened in a fresh process, which says how
long it took and how much memory it had. Nothing is compared with anything.
"""

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import pathjax
from pathjax.bench.index_study import IndexOptions
from pathjax.bench.options import PRIVATE, BenchError
from pathjax.bench.report import machine

# Issue "TCGA at scale": opening and the first batch.
BAR_SECONDS, BAR_BYTES = 10, 2 * 10**9


def measure(options: IndexOptions) -> dict[str, Any]:
    """Makes the study if it is not there, and opens it.

    Raises:
      BenchError: sizes that make no study, or a step that failed.
    """
    if not options.patients <= options.slides <= 2 * options.patients:
        raise BenchError(
            f"slides={options.slides} and patients={options.patients}: wanted one or two "
            "slides for each patient"
        )
    if options.patients < 10 or options.batch > options.patients * 9 // 10:
        raise BenchError(
            f"patients={options.patients}, batch={options.batch}: nine tenths of the "
            "patients train, and a batch of them needs as many"
        )
    before = machine()
    with contextlib.ExitStack() as stack:
        if options.folder:
            root = Path(options.folder)
        else:
            made = tempfile.TemporaryDirectory(prefix="pathjax-bench-")
            root = Path(stack.enter_context(made)) / "study"
        built = None
        if not (root / "study.json").is_file():
            built = _in_process("build", root, options)
        start = time.perf_counter()
        opened = _in_process("open", root, options)
        opened["process_seconds"] = time.perf_counter() - start
    stated = {k: v for k, v in dataclasses.asdict(options).items() if k not in HIDDEN}
    return {
        "benchmark": "index",
        "options": stated,
        "versions": {"pathjax": pathjax.__version__},
        "machine": before,
        "built": built,
        "opened": opened,
        "met": opened["total"] <= BAR_SECONDS and opened["peak_bytes"] <= BAR_BYTES,
    }


HIDDEN = (*PRIVATE, "folder")


def _in_process(step: str, root: Path, options: IndexOptions) -> dict[str, Any]:
    words = [step, str(root), json.dumps(dataclasses.asdict(options))]
    command = [sys.executable, "-m", "pathjax.bench.index_study", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError(f"bench index: to {step} the study failed, as said above")
    return json.loads(done.stdout)


def show(found: dict[str, Any]) -> None:
    """Prints the result as a table."""
    options, opened, built = found["options"], found["opened"], found["built"]
    rows = options["slides"] * options["tiles"]
    table = Table(title=f"an index of {rows:,} tiles")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for name in ("import", "open", "gather", "first_batch", "total"):
        table.add_row(name.replace("_", " "), f"{opened[name]:.2f}")
    table.add_row("each batch after", f"{opened['next_batches_each']:.2f}")
    if built:
        table.add_row("writing the index", f"{built['finish_seconds']:.0f}")
    console = Console()
    console.print(table)
    console.print(
        f"peak memory {opened['peak_bytes'] / 1e9:.2f} GB"
        f" ({opened['gathered_bytes'] / 1e9:.2f} before the first batch, whose tiles are "
        f"{opened['batch_bytes'] / 1e9:.2f})"
        + (f", writing {built['peak_bytes'] / 1e9:.2f} GB" if built else "")
        + f"; the bar is {BAR_SECONDS} s and {BAR_BYTES / 1e9:.0f} GB: "
        + ("met" if found["met"] else "not met")
    )
