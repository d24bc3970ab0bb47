"""`pathjax bench`: speed and memory of ours against named peers, in interleaved turns.

Each benchmark is a module with `Options` and `entries(options, folder)`, whose
contestants run in worker processes.
Nothing heavy is imported here, because the workers of peers import this package too.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

NAMES = ("step", "forward", "loader", "probe", "cox", "tile", "scale")


def run_bench(what: str, peer: bool, out: Path | None, words: Sequence[str]) -> None:
    """Runs one benchmark, prints it and writes its JSON.

    Args:
      what: Of `NAMES`.
      peer: Run the peers too.
      out: JSON file to write, or None.
      words: `--config.NAME=VALUE`; see `Options` of the benchmark.

    Raises:
      BenchError: an invalid option, an unknown contestant or a missing peer.
    """
    from pathjax.bench import runner
    from pathjax.bench.options import parse_options
    from pathjax.bench.report import show
    from pathjax.files import write_json

    bench = importlib.import_module(f"pathjax.bench.{what}")
    result = runner.run(what, bench, parse_options(bench.Options, words), peer)
    show(result)
    if out is not None:
        write_json(out, result)
