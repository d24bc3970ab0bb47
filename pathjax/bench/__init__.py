"""`pathjax bench`: speed and memory of ours against named peers, in interleaved turns.

Each benchmark is a module with `Options` and `entries(options, folder)`, whose
contestants run in worker processes; `coverage` simulates the statistics instead.
Nothing heavy is imported here, because the workers of peers import this package too.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

NAMES = (
    *("step", "forward", "loader", "probe", "cox", "tile", "spatial", "scale"),
    "coverage",
)


def run_bench(
    what: str,
    peer: bool,
    out: Path | None,
    words: Sequence[str],
    quick: bool = False,
) -> int:
    """Runs one benchmark, prints it and writes its JSON; returns the exit status.

    Args:
      what: Of `NAMES`, or "eva", an old name for the probe against kaiko-eva.
      peer: Run the peers too.
      out: JSON file to write, or None.
      words: `--config.NAME=VALUE`; see `Options` of the benchmark.
      quick: Fewer designs, of "coverage".

    Raises:
      BenchError: an invalid option, an unknown contestant or a missing peer.
    """
    from pathjax.bench import runner
    from pathjax.bench.options import BenchError, parse_options
    from pathjax.bench.report import show
    from pathjax.files import write_json

    if what == "eva":
        who = "pathjax,eva" if peer else "pathjax"
        eva = [f"--config.contestants={who}", "--config.max_steps=948"]
        print(f"bench eva is now: bench probe{' --peer' * peer} {' '.join(eva)}")
        what, words = "probe", [*eva, *words]
    if what not in NAMES:
        raise BenchError(f"expected bench {', '.join(NAMES)}, got {what!r}")
    if quick and what != "coverage":
        raise BenchError("--quick is an option of bench coverage: leave it out")
    if peer and what == "coverage":
        raise BenchError("bench coverage has no peers: leave out --peer")
    bench = importlib.import_module(f"pathjax.bench.{what}")
    options = parse_options(bench.Options, words)
    if what == "coverage":
        result = bench.run(options, quick, out)
        print(bench.markdown(result))
    else:
        result = runner.run(what, bench, options, peer)
        show(result)
    if out is not None:
        write_json(out, result)
    return 0
