"""`pathjax bench`: our step, forward, loader, probe, tiler against peers.

Nothing heavy is imported here: the workers of peers import this package too.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path


def run_bench(what: str, peer: bool, out: Path | None, options: Sequence[str]) -> int:
    """Runs one benchmark, prints it and writes its JSON; the exit status.

    Args:
      what: "step", "forward", "loader", "probe", "eva", "tile", or "scale".
      peer: run the peers too.
      out: JSON file to write, or None.
      options: `--config.NAME=VALUE` words; `bench/options.py` lists the names.

    Raises:
      BenchError: an option, a contestant or a peer's library that is not there.
    """
    module = {
        "eva": "EvaOptions",
        "probe": "ProbeOptions",
        "tile": "TileBenchOptions",
        "scale": "ScaleOptions",
    }
    if what in module:
        from pathjax.bench.options import parse_options
        from pathjax.files import write_json

        bench = importlib.import_module(f"pathjax.bench.{what}")
        parsed = parse_options(getattr(bench, module[what]), options)
        alone = what in ("scale",)
        found = bench.measure(parsed) if alone else bench.measure(parsed, peer)
        bench.show(found)
        if out is not None:
            write_json(out, found)
        return 0
    from pathjax.bench.run import run

    run(what, peer, out, options)
    return 0
