"""`pathjax bench`: our training step and our loader against named peers.

Nothing heavy is imported here: the workers of peers import this package too.
"""

from collections.abc import Sequence
from pathlib import Path


def run_bench(what: str, peer: bool, out: Path | None, options: Sequence[str]) -> int:
    """Runs one benchmark, prints it and writes its JSON; the exit status.

    Args:
      what: "step" or "loader".
      peer: run the peers too.
      out: JSON file to write, or None.
      options: `--config.NAME=VALUE` words; `bench/options.py` lists the names.

    Raises:
      BenchError: an option, a contestant or a peer's library that is not there.
    """
    from pathjax.bench.run import run

    run(what, peer, out, options)
    return 0
