"""Tiling on Slurm: starts Dask workers as jobs, runs `pathjax tile`, ends the jobs.

    python launch/tile_slurm.py [--jobs N] [--cores N] ... -- --slides CSV --out STUDY ...

What stands after `--` goes to `pathjax tile` as it is. Run it where `sbatch` works and
where it may run for as long as the tiling takes; it holds the scheduler and needs
little. Slides and study must have the same paths on all nodes. Interrupted or ended by
a time limit, the same line goes on where it was. Needs `pip install 'pathjax[slurm]'`.

`--dry-run` prints the script of one job and the command, and starts nothing.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence

from dask_jobqueue import SLURMCluster


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options before `--`, and as `tile` the words after it."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        usage="%(prog)s [options] -- --slides DIR_OR_CSV --out STUDY ...",
    )
    parser.add_argument("--jobs", type=int, default=4, help="number of Slurm jobs")
    parser.add_argument(
        "--cores", type=int, default=16, help="cores, and workers, per job"
    )
    parser.add_argument(
        "--memory", default="32GB", help="memory per job; 1 to 2 GB per core"
    )
    parser.add_argument("--walltime", default="08:00:00", help="time limit of a job")
    parser.add_argument("--queue", help="partition")
    parser.add_argument("--account")
    parser.add_argument(
        "--interface", help="network interface that nodes share, such as ib0"
    )
    parser.add_argument(
        "--local-directory", help="local folder of the workers, such as /scratch"
    )
    parser.add_argument(
        "--directive",
        action="append",
        default=[],
        metavar="WORDS",
        help="for #SBATCH, such as --directive=--constraint=cpu; may be repeated",
    )
    parser.add_argument(
        "--prologue",
        action="append",
        default=[],
        metavar="LINE",
        help="line of the job script, such as 'module load python'; may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true")
    words = list(words)
    cut = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:cut])
    args.tile = words[cut + 1 :]
    wrong = [name for name in ("jobs", "cores") if getattr(args, name) < 1]
    if wrong:
        parser.error(f"{' and '.join(wrong)}: wanted 1 or more")
    given = [word.partition("=")[0] for word in args.tile]
    missing = [name for name in ("--slides", "--out") if name not in given]
    if missing:
        parser.error(f"after -- wanted {' and '.join(missing)} for `pathjax tile`")
    if {"--scheduler", "--workers"} & {*given}:
        parser.error("--scheduler and --workers of `pathjax tile` are set here")
    return args


def cluster(args: argparse.Namespace) -> SLURMCluster:
    """The scheduler, here, and the description of a job; no job is started yet."""
    return SLURMCluster(
        cores=args.cores,
        # One thread each: a crash of a native library costs one slide.
        processes=args.cores,
        memory=args.memory,
        walltime=args.walltime,
        queue=args.queue,
        account=args.account,
        interface=args.interface,
        local_directory=args.local_directory,
        job_extra_directives=args.directive,
        job_script_prologue=args.prologue,
        job_name="pathjax-tile",
        # The nodes' Python is the one that runs this.
        python=sys.executable,
        scheduler_options={"dashboard_address": None},
    )


def command(args: argparse.Namespace, address: str) -> list[str]:
    """`pathjax tile` with the scheduler's address."""
    return [sys.executable, "-m", "pathjax", "tile", *args.tile, "--scheduler", address]


def main(words: Sequence[str]) -> int:
    """Starts the workers and runs `pathjax tile` with `words`; its exit status."""
    args = parse(words)
    with cluster(args) as started:
        if args.dry_run:
            print(started.job_script())
            print(f"# {args.jobs} jobs like this, and on this machine:")
            print(f"# {shlex.join(command(args, started.scheduler_address))}")
            return 0
        started.scale(jobs=args.jobs)
        return subprocess.run(
            command(args, started.scheduler_address), check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
