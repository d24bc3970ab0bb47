"""`pathjax sweep`: train and evaluate every point of a grid."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from pathjax.commands.config_help import add_config
from pathjax.commands.evals import add_tasks
from pathjax.commands.training import overrides


def add(commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "sweep",
        add_help=False,  # add_config adds it
        help="train and evaluate every point of a grid; one table and one figure",
        epilog="--config.KEY=VALUE overrides a value of the config at all points. "
        "Choose a point on validation tasks only.",
    )
    add_config(parser)
    parser.add_argument(
        "--grid",
        nargs="+",
        action="append",
        required=True,
        metavar="KEY=VALUE,VALUE",
        help="values of config keys; all combinations are trained. Given several "
        "times, each is a grid of its own, such as one key at a time",
    )
    parser.add_argument("--seeds", type=int, default=1, help="seeds per point")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    add_tasks(parser)
    parser.add_argument(
        "--only",
        type=int,
        metavar="I",
        help="train run I only and evaluate nothing, for array jobs",
    )
    parser.add_argument(
        "--slurm",
        action="store_true",
        help="submit one array job for the runs and one job for the table",
    )
    parser.add_argument(
        "--sbatch",
        action="append",
        default=[],
        metavar="WORD",
        help="one more argument for sbatch, such as --sbatch=--partition=gpu",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the calls of sbatch only"
    )
    parser.set_defaults(run=run_sweep, takes_overrides=True)


def run_sweep(args: argparse.Namespace) -> int:
    from pathjax.evals.evaluate import open_studies
    from pathjax.evals.suites import load_tasks
    from pathjax.progress import stage
    from pathjax.report.table import print_table
    from pathjax.sweep.grid import parse_grid
    from pathjax.sweep.run import BASE, Sweep

    if (args.dry_run or args.sbatch) and not args.slurm:
        raise ValueError("--dry-run and --sbatch are for --slurm: add it")
    if args.slurm and args.only is not None:
        raise ValueError("--only would not be used: --slurm submits all runs")
    grids = [parse_grid(words) for words in args.grid]
    sweep = Sweep(args.config, overrides(args.rest), grids, args.seeds, args.out)
    tasks = [task for name in args.tasks for task in load_tasks(name)]
    studies = open_studies(args.study)
    sweep.check()
    if args.slurm:
        submit(args, len(sweep.jobs))
        return 0
    with stage("sweep", len(sweep.jobs)) as bar:
        failed = sweep.train(args.only, bar)
    if args.only is None:
        with stage("probes", len(sweep.jobs)) as bar:
            table, written = sweep.evaluate(failed, tasks, studies, bar)
        print_table(table)
        # Of earlier calls with another grid too: they were looked at as well.
        scored = sum(row.name != BASE for row in table.rows)
        print(
            f"{scored} configurations were scored on these tasks: report "
            "that number, and choose on validation tasks only"
        )
        for path in written.values():
            print(path)
    for name, reason in failed.items():
        print(f"not in the table: {name}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def submit(args: argparse.Namespace, count: int) -> None:
    """Submits an array job of `count` trainings, then the job of the table.

    The table's job also runs after failed trainings: it tries them once more and names
    those that fail again.

    Raises:
      OSError: sbatch is not installed.
      ValueError: sbatch refused a job.
    """
    same = shlex.join(_command_line(args))
    log = args.out / "slurm-%A_%a.log"
    trainings = ["sbatch", "--parsable", f"--array=0-{count - 1}", f"--output={log}"]
    trainings += [*args.sbatch, f"--wrap={same} --only $SLURM_ARRAY_TASK_ID"]
    job = _run(trainings, args.dry_run) or "JOB"
    table = ["sbatch", "--parsable", f"--dependency=afterany:{job}"]
    table += [f"--output={args.out / 'slurm-table-%j.log'}", *args.sbatch]
    _run([*table, f"--wrap={same}"], args.dry_run)


def _command_line(args: argparse.Namespace) -> list[str]:
    """The same sweep as a command, without the words for Slurm."""
    return [
        # argparse takes a word with a space for one more value of the option before it
        *("pathjax", "sweep", f"--config={args.config}", *args.rest),
        *(word for grid in args.grid for word in ("--grid", *grid)),
        *(f"--seeds={args.seeds}", f"--out={args.out}", "--tasks", *args.tasks),
        *("--study", *map(str, args.study)),
    ]


def _run(words: list[str], dry: bool) -> str:
    """Runs sbatch and returns the number of the job, or prints the call."""
    if dry:
        print(shlex.join(words))
        return ""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"sbatch refused the job: {done.stderr.strip()[:400]}")
    job = done.stdout.strip().partition(";")[0]
    print(f"submitted job {job}")
    return job
