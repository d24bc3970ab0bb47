"""`pathjax plan`: what a run needs and costs on other hardware."""

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

from pathjax.commands.config_help import add_config
from pathjax.commands.options import add_fields
from pathjax.commands.training import overrides

# Not 1, so that scripts can distinguish "does not fit" from a mistake.
EXIT_DOES_NOT_FIT = 3
STEPS = "train,validation,embedding,probe"


@dataclasses.dataclass(frozen=True)
class Flags:
    """The command's options."""

    target: Annotated[
        str,
        "v5e:4x4, v5p:2x2x4, v6e:8x8, tpu7x:2x2x1, h100:8, h200:1 or cpu:8",
        "CHIP:SHAPE",
    ]
    steps: Annotated[str, "steps to compile, comma-separated (default: all)"] = STEPS
    genes: Annotated[int | None, "length of the gene panel, if unknown"] = None
    text_dim: Annotated[int | None, "length of text embeddings, if unknown"] = None
    samples: Annotated[int | None, "number of training samples, to compute epochs"] = (
        None
    )
    tries: Annotated[int, "changes to try when the job does not fit (default: 3)"] = 3
    price_per_chip_hour: Annotated[float | None, None, "MONEY"] = None
    mfu: Annotated[float, "expected utilisation (default: 0.4)"] = 0.4
    json: Annotated[Path | None, "write everything as JSON", "FILE"] = None


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
    add_fields(plan, Flags)
    plan.set_defaults(run=run_plan, takes_overrides=True)


def run_plan(args: argparse.Namespace) -> int:
    from rich.console import Console

    from pathjax.files import write_json
    from pathjax.plan.process import make_plan
    from pathjax.plan.report import add_cost, show

    steps = args.steps.split(",")
    if set(steps) - set(STEPS.split(",")):
        raise ValueError(f"--steps={args.steps}: expected some of {STEPS}")
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
