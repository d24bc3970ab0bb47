"""`pathjax bench`: speed and memory of ours against named peers, in interleaved turns.

Each benchmark is a module with `Options` and `entries(options, folder)`, whose
contestants run in worker processes.
Nothing heavy is imported here, because the workers of peers import this package too.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

NAMES = ("step", "forward", "loader", "probe", "cox", "tile", "scale", "accelerator")


def run_bench(what: str, peer: bool, out: Path | None, words: Sequence[str]) -> None:
    """Runs one benchmark, prints it and writes its JSON.

    Args:
      what: Of `NAMES`.
      peer: Run the peers too.
      out: JSON file to write, or None.
      words: `--config.NAME=VALUE`; see `Options` of the benchmark.

    Raises:
      BenchError: an invalid option, an unknown contestant or a missing peer; or, with
        `accelerator`, numerics or a step that failed.
    """
    from pathjax.bench import runner
    from pathjax.bench.options import BenchError, parse_options
    from pathjax.bench.report import show
    from pathjax.files import write_json, write_text

    bench = importlib.import_module(f"pathjax.bench.{what}")
    options = parse_options(bench.Options, words)
    if what != "accelerator":
        result = runner.run(what, bench, options, peer)
        show(result)
        if out is not None:
            write_json(out, result)
        return
    if peer:
        raise BenchError("bench accelerator has no peers: leave out --peer")
    result = bench.run(options)
    text = bench.page(result)
    print(text)
    if out is not None:
        write_json(out, result)
        write_text(out.with_suffix(".md"), text + "\n")
    if failed := bench.failures(result):
        raise BenchError(f"{len(failed)} failed: {'; '.join(failed)[:400]}")
