"""The command line: parses words, calls one function each, prints errors in one line.

The commands are in pathjax/commands; nothing else reads arguments.

Exit status: 0 done, 1 an error that is named, 2 wrong arguments, 75 stopped by a signal
after saving: the same command again resumes (preemption.py).
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pathjax
from pathjax.commands import (
    bench,
    data,
    demo,
    evals,
    figure,
    modalities,
    models,
    plan,
    predict,
    sweep,
    text,
    tile,
    training,
)
from pathjax.parallel import allocator
from pathjax.parallel.preemption import EXIT_PREEMPTED, Preempted


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and not getattr(args, "takes_overrides", False):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    args.rest = rest
    if not hasattr(args, "run"):
        parser.print_help()
        return 2
    prepare_environment()
    if argv is None:  # this process is the command, and not a caller of `main`
        allocator.restart_with_huge_pages()
    from pathjax.progress import show_log  # after the environment is set

    show_log()
    try:
        return args.run(args) or 0
    except Preempted as stopped:
        print(f"pathjax: {stopped}", file=sys.stderr)
        return EXIT_PREEMPTED
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        if os.environ.get("PATHJAX_TRACEBACK"):
            raise
        print(f"pathjax: {error}", file=sys.stderr)
        print("(PATHJAX_TRACEBACK=1 shows where)", file=sys.stderr)
        return 1


def prepare_environment() -> None:
    """Settings that have to stand before NumPy and JAX are imported.

    Through the environment, so that worker processes inherit them; what the user has
    set already is left alone.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    for name, value in (
        # Compiled programs are kept: a second run of the same step starts in a second.
        ("JAX_COMPILATION_CACHE_DIR", str(home / "pathjax" / "jax")),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5"),
        # OpenBLAS's spinning threads fight XLA's for the cores (ridge sweep: 0.7 s
        # with one, up to 21 s with two on two cores).
        ("OPENBLAS_NUM_THREADS", "1"),
    ):
        os.environ.setdefault(name, value)


def build_parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = argparse.ArgumentParser(
        prog="pathjax",
        description="Fine-tune pathology foundation models with transcriptomics, and "
        "measure what it did to them.",
    )
    parser.add_argument("--version", action="version", version=pathjax.__version__)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    groups = (demo, data, tile, text, models, training, bench, plan, evals, sweep)
    for group in (*groups, predict, modalities, figure):
        group.add(commands)
    return parser
