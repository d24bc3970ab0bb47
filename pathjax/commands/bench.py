"""`pathjax bench`: speed and memory, ours against named peers."""

import argparse
from pathlib import Path

from pathjax.bench import NAMES, run_bench


def add(commands) -> None:
    """Adds `bench`."""
    bench = commands.add_parser(
        "bench",
        help="speed against named peers",
        epilog="--config.NAME=VALUE sets an option of the benchmark.",
    )
    bench.add_argument("what", choices=NAMES)
    bench.add_argument("--peer", action="store_true", help="run the peers too")
    bench.add_argument("--out", type=Path, help="JSON file to write")
    bench.set_defaults(run=run, takes_overrides=True)


def run(args: argparse.Namespace) -> None:
    run_bench(args.what, args.peer, args.out, args.rest)
