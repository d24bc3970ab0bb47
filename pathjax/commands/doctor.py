"""`pathjax doctor`: one page on this machine and installation."""

import argparse
from pathlib import Path


def add(commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "doctor",
        help="what this machine and installation have; exit 1 on what would fail",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        help="where runs and studies are to lie (default: this folder)",
    )
    parser.set_defaults(run=run_doctor)


def run_doctor(args: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    from pathjax.bench.doctor import examine

    table = Table(show_header=False, box=None, pad_edge=False)
    failed = 0
    for finding in examine(args.folder):
        failed += finding.state == "fail"
        state = "FAIL" if finding.state == "fail" else finding.state
        table.add_row(state, finding.what, finding.text)
    Console(highlight=False, markup=False, soft_wrap=False).print(table)
    print(f"{failed} would fail" if failed else "nothing here would fail")
    return 1 if failed else 0
