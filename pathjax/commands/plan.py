"""`pathjax plan`: what a run needs and costs on other hardware."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from pathjax.commands.config_help import add_config
from pathjax.commands.training import overrides

# Not 1, so that scripts can distinguish "does not fit" from a mistake.
EXIT_DOES_NOT_FIT = 3


def add(commands) -> None:
    """Adds `plan`."""
    plan = commands.add_parser(
        "plan",
        add_help=False,  # add_config adds it
        help="memory, FLOPs, collectives, hours of a run on a TPU pod or GPUs",
        description="Compiles the run's steps ahead of time for hardware that you do not "
        "have. Exit status 3: the job does not fit.",
        epilog="--config.KEY=VALUE overrides a value of the config; "
        "--config.help lists the keys.",
    )
    add_config(plan)
    plan.add_argument(
        "--target",
        required=True,
        metavar="CHIP:SHAPE",
        help="v5e:4x4, v5p:2x2x4, v6e:8x8, tpu7x:2x2x1, h100:8, h200:1 or cpu:8",
    )
    plan.add_argument(
        "--steps",
        default="train,validation,embedding,probe",
        help="steps to compile, comma-separated (default: all)",
    )
    plan.add_argument("--genes", type=int, help="length of the gene panel, if unknown")
    plan.add_argument(
        "--text-dim", type=int, help="length of text embeddings, if unknown"
    )
    plan.add_argument(
        "--samples", type=int, help="number of training samples, to compute epochs"
    )
    plan.add_argument(
        "--tries",
        type=int,
        default=3,
        help="changes to try when the job does not fit (default: 3)",
    )
    plan.add_argument("--price-per-chip-hour", type=float, metavar="MONEY")
    plan.add_argument(
        "--mfu",
        type=float,
        default=0.4,
        help="expected utilisation (default: 0.4)",
    )
    plan.add_argument(
        "--json", type=Path, metavar="FILE", help="write everything as JSON"
    )
    plan.set_defaults(run=run_plan, takes_overrides=True)


def run_plan(args: argparse.Namespace) -> int:
    from rich.console import Console

    from pathjax.files import write_json
    from pathjax.plan.process import make_plan
    from pathjax.plan.report import add_cost, show

    known = ("train", "validation", "embedding", "probe")
    steps = args.steps.split(",")
    if set(steps) - set(known):
        raise ValueError(f"--steps={args.steps}: expected some of {','.join(known)}")
    if not 0 < args.mfu <= 1:
        raise ValueError(f"--mfu={args.mfu}: expected a fraction, such as 0.4")
    start = time.perf_counter(), children_cpu()
    request = {
        "config": args.config,
        "overrides": overrides(args.rest),
        "target": args.target,
        "genes": args.genes,
        "text_dim": args.text_dim,
        "rows": args.samples,
        "steps": steps,
        "tries": args.tries,
    }
    result = make_plan(request, lambda text: print(text, file=sys.stderr, flush=True))
    result["train_samples"] = args.samples or result["train_samples"]
    if "steps" in result:
        result = add_cost(result, args.price_per_chip_hour, args.mfu)
    wall, cpu = time.perf_counter() - start[0], children_cpu() - start[1]
    result["planning"] = {"wall_seconds": wall, "cpu_seconds": cpu}
    if args.json:
        write_json(args.json, json.loads(json.dumps(result)))
    # A file has no width; do not cut tables to that of a terminal.
    console = Console(width=None if sys.stdout.isatty() else 120, soft_wrap=False)
    show(result, console)
    console.print(f"Planned in {wall:.0f} s ({cpu:.0f} s of CPU).")
    return EXIT_DOES_NOT_FIT if "does_not_fit" in result else 0


def children_cpu() -> float:
    """CPU seconds of child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system
