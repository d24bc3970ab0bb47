"""`pathjax bench`: our step, forward pass and loader against named peers; memory.

Nothing heavy is imported here: the workers of peers import this package too.
"""

from collections.abc import Sequence
from pathlib import Path


def run_bench(what: str, peer: bool, out: Path | None, options: Sequence[str]) -> int:
    """Runs one benchmark, prints it and writes its JSON; the exit status.

    Args:
      what: "step", "forward", "loader" or "memory".
      peer: run the peers too.
      out: JSON file to write, or None.
      options: `--config.NAME=VALUE` words; `bench/options.py` lists the names.

    Raises:
      BenchError: an option, a contestant or a peer's library that is not there.
    """
    if what == "memory":
        from pathjax.atomic import write_json
        from pathjax.bench import memory
        from pathjax.bench.options import parse_options

        found = memory.measure(parse_options(memory.MemoryOptions, options))
        memory.show(found)
        if out is not None:
            write_json(out, found)
        return 0
    from pathjax.bench.run import run

    run(what, peer, out, options)
    return 0
