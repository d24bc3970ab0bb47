"""`pathjax bench`: speed and memory, ours against named peers."""

import argparse
from pathlib import Path

NAMES = (
    *("step", "forward", "loader", "probe", "cox", "eva"),
    *("tile", "spatial", "scale", "coverage"),
)


def add(commands) -> None:
    """Adds `bench`."""
    bench = commands.add_parser(
        "bench",
        help="speed against named peers; coverage of the intervals",
        epilog="--config.NAME=VALUE sets an option of the benchmark.",
    )
    bench.add_argument("what", choices=NAMES)
    bench.add_argument("--peer", action="store_true", help="run the peers too")
    bench.add_argument(
        "--quick", action="store_true", help="coverage: small studies only"
    )
    bench.add_argument("--out", type=Path, help="JSON file to write")
    bench.set_defaults(run=run, takes_overrides=True)


def run(args: argparse.Namespace) -> int:
    from pathjax.bench import run_bench

    return run_bench(args.what, args.peer, args.out, args.rest, args.quick)
