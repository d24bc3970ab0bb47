"""`pathjax data correct`: removes batch effects from a study's expression."""

import argparse
from pathlib import Path

from pathjax.commands.output import print_study


def add(kinds) -> None:
    """Adds `correct` to the commands of `data`."""
    parser = kinds.add_parser(
        "correct",
        help="remove batch effects from expression",
        description="Writes a study with corrected expression. What is fitted is fitted "
        "on the samples of --fit alone (docs/study.md).",
    )
    parser.add_argument("study", type=Path, help="study folder")
    parser.add_argument("--out", type=Path, required=True, metavar="STUDY")
    parser.add_argument(
        "--method",
        choices=["combat", "center"],
        required=True,
        help="ComBat (needs the extra spatial), or centring of each batch",
    )
    parser.add_argument(
        "--batch",
        choices=["sample", "patient", "site"],
        default="sample",
        help="what a batch is; a sample of tissue is a slide (default: sample)",
    )
    parser.add_argument("--split", required=True, help="split that has the fold")
    parser.add_argument(
        "--fit", default="train", help="fold to fit on (default: train)"
    )
    parser.add_argument(
        "--unseen",
        choices=["refuse", "keep", "center"],
        default="refuse",
        help="batches without samples in the fold: refuse them, keep their values, or "
        "centre each by its own mean (default: refuse)",
    )
    parser.add_argument("--name", help="name of the new study (default: NAME-METHOD)")
    parser.set_defaults(run=run_correct)


def run_correct(args: argparse.Namespace) -> None:
    from pathjax.data.correct import correct
    from pathjax.data.study import Study

    study, notes = correct(
        Study(args.study),
        args.out,
        method=args.method,
        batch=args.batch,
        split=args.split,
        fit=args.fit,
        unseen=args.unseen,
        name=args.name,
    )
    print_study(study, notes)
