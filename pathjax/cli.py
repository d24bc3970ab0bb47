"""The command line: parses words, calls one function each, prints errors in one line.

The commands are in pathjax/commands; nothing else reads arguments.

Exit status: 0 done, 1 an error that is named, 2 wrong arguments, 75 stopped by a signal
after saving, or another process of the run is gone: the same command again resumes
(preemption.py, supervisor.py).
"""

import argparse
import gc
import os
import re
import sys
from collections.abc import Sequence

import pathjax
from pathjax.buckets import shown
from pathjax.commands import (
    bench,
    blend,
    data,
    demo,
    doctor,
    evals,
    figure,
    modalities,
    models,
    plan,
    predict,
    robustness,
    sweep,
    text,
    tile,
    training,
)
from pathjax.commands.output import explain, use_addresses
from pathjax.files import cache_folder
from pathjax.parallel import allocator
from pathjax.parallel.preemption import EXIT_PREEMPTED, Preempted
from pathjax.parallel.supervisor import supervise

EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 130, 141  # 128 + the signal's number
# Functions of commands that keep what is finished and continue when run again.
CONTINUES = frozenset(
    ("run_build", "run_demo", "run_embed", "run_evaluate", "run_modalities")
    + ("run_named", "run_predict", "run_robustness", "run_sweep", "run_tile")
    + ("run_train",)
)
# `~/x`, `--out=~/x` and `name=~/x`; a shell expands only the first.
_HOME = re.compile(r"^((?:[^/=\s]*=)*)~(?=/|$)")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    status = _run(argv)
    if status == EXIT_INTERRUPTED and argv is None:
        # At once: threads of JAX that still compile would crash Python's shutdown.
        gc.collect()  # removes the semaphores of worker processes
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _run(argv: Sequence[str] | None) -> int:
    args = None
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        if args is None:
            return 2
        prepare_environment()
        if argv is None:  # this process is the command, and not a caller of `main`
            allocator.restart_with_huge_pages()
            if training.is_one_of_several(args):
                status = supervise()
                if status is not None:
                    return status
        from pathjax.progress import show_log  # after the environment is set

        show_log(shown)
        use_addresses(args)
        if names := getattr(args, "allow_code", ()):
            from pathjax.registry import allow_code

            allow_code(names)
        return args.run(args) or 0
    except Preempted as stopped:
        print(f"pathjax: {stopped}", file=sys.stderr)
        return EXIT_PREEMPTED
    except KeyboardInterrupt as interrupt:
        print(f"pathjax: {_interrupted(args, interrupt)}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        if argv is None:  # or Python would complain when it flushes at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        if os.environ.get("PATHJAX_TRACEBACK"):
            raise
        print(f"pathjax: {explain(error)}", file=sys.stderr)
        print("(PATHJAX_TRACEBACK=1 shows where)", file=sys.stderr)
        return getattr(error, "exit_status", 1)


def parse(words: Sequence[str]) -> argparse.Namespace | None:
    """The arguments; None, after the help is printed, without a command.

    Raises:
      ValueError: `~` without a home directory.
      SystemExit: wrong arguments.
    """
    parser = build_parser()
    args, rest = parser.parse_known_args(expand_home(words))
    if rest and not getattr(args, "takes_overrides", False):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    args.rest = rest
    if not hasattr(args, "run"):
        parser.print_help()
        return None
    return args


def expand_home(words: Sequence[str]) -> list[str]:
    """Words with `~` as the home directory, wherever a path may start.

    Raises:
      ValueError: there is no home directory.
    """
    home = os.path.expanduser("~")
    for word in words:
        if _HOME.match(word) and not os.path.isabs(home):
            raise ValueError(
                f"{word}: there is no home directory; set HOME, or name the whole path"
            )
    return [_HOME.sub(lambda match: match[1] + home, word) for word in words]


def _interrupted(args: argparse.Namespace | None, error: KeyboardInterrupt) -> str:
    """What was interrupted, and what the same command does when run again."""
    stages = getattr(error, "__notes__", ())
    where = f" in the stage {stages[0]!r}" if stages else ""
    name = getattr(getattr(args, "run", None), "__name__", "")
    again = "continues with what is not done" if name in CONTINUES else "starts over"
    return f"interrupted{where}; run the same command again: it {again}"


def prepare_environment() -> None:
    """Settings that have to stand before NumPy and JAX are imported.

    Through the environment, so that worker processes inherit them; what the user has
    set already is left alone.
    """
    for name, value in (
        # Compiled programs are kept: a second run of the same step starts in a second.
        ("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / "jax")),
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
    groups = (
        demo,
        doctor,
        data,
        tile,
        text,
        models,
        training,
        blend,
        bench,
        plan,
        evals,
    )
    for group in (*groups, robustness, sweep, predict, modalities, figure):
        group.add(commands)
    return parser
