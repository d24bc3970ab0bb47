"""`pathjax blend`: models between a base and what was tuned from it."""

import argparse
from pathlib import Path


def add(commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "blend",
        help="interpolate between a base and models tuned from it",
        description="Writes an encoder for each alpha: (1 - alpha) base + alpha tuned; "
        "several tuned models are averaged first. Choose alpha on a validation task.",
    )
    parser.add_argument("base", type=Path, help="run folder or model.safetensors")
    parser.add_argument("tuned", nargs="+", type=Path, help="tuned from the base")
    parser.add_argument(
        "--alpha",
        default="0:1:0.1",
        metavar="START:STOP:STEP",
        help="or A,B,C; 0 is the base, 1 the tuned model (default: 0:1:0.1)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.set_defaults(run=run_blend)


def run_blend(args: argparse.Namespace) -> None:
    from pathjax.models.blend import blend, parse_alphas

    for path in blend(args.base, args.tuned, parse_alphas(args.alpha), args.out):
        print(path)
    print(
        f"score all of them: pathjax evaluate base={args.base} blend:base={args.out} ..."
    )
