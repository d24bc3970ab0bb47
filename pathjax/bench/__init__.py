"""`pathjax bench`: our step, forward, loader and probe against peers; memory.

Nothing heavy is imported here: the workers of peers import this package too.
"""

from collections.abc import Sequence
from pathlib import Path


def run_bench(what: str, peer: bool, out: Path | None, options: Sequence[str]) -> int:
    """Runs one benchmark, prints it and writes its JSON; the exit status.

    Args:
      what: "step", "forward", "loader", "probe", "eva", "memory" or "index".
      peer: run the peers too.
      out: JSON file to write, or None.
      options: `--config.NAME=VALUE` words; `bench/options.py` lists the names.

    Raises:
      BenchError: an option, a contestant or a peer's library that is not there.
    """
    if what in ("memory", "probe", "eva", "index"):
        from pathjax.atomic import write_json
        from pathjax.bench.options import parse_options

        if what == "memory":
            from pathjax.bench import memory as bench

            found = bench.measure(parse_options(bench.MemoryOptions, options))
        elif what == "index":
            from pathjax.bench import index as bench

            found = bench.measure(parse_options(bench.IndexOptions, options))
        elif what == "eva":
            from pathjax.bench import eva as bench

            found = bench.measure(parse_options(bench.EvaOptions, options), peer)
        else:
            from pathjax.bench import probe as bench

            found = bench.measure(parse_options(bench.ProbeOptions, options), peer)
        bench.show(found)
        if out is not None:
            write_json(out, found)
        return 0
    from pathjax.bench.run import run

    run(what, peer, out, options)
    return 0
