"""`pathjax data build` and a command for each shipped dataset.

Options come from the fields of the dataset class (pathjax/datasets/dataset.py).
"""

import argparse
from pathlib import Path

from pathjax.commands.options import add_fields, read_fields
from pathjax.commands.output import print_built
from pathjax.datasets.dataset import Dataset
from pathjax.datasets.registry import DATASETS


def add(kinds) -> None:
    """Adds `build` and the shipped datasets to the commands of `data`."""
    build = kinds.add_parser(
        "build",
        help="build the study of any dataset, your own included",
        description="NAME is a shipped dataset or package.module:Class, importable "
        "from the working directory. See the options of one by NAME --help.",
    )
    build.add_argument("dataset", metavar="NAME", help=", ".join(DATASETS))
    build.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    build.set_defaults(run=run_named)
    for name, dataset in DATASETS.items():
        parser = kinds.add_parser(name, help=dataset.title())
        add_options(parser, dataset)
        parser.set_defaults(run=run_build, dataset=dataset, name=name)


def add_options(parser: argparse.ArgumentParser, dataset: type[Dataset]) -> None:
    """Adds `--source`, `--out` and an option for each field of the dataset."""
    if dataset.source:
        parser.add_argument(
            "--source", type=Path, required=True, metavar="PATH", help=dataset.source
        )
    parser.add_argument("--out", type=Path, required=True, metavar="STUDY")
    add_fields(parser, dataset)


def run_named(args: argparse.Namespace) -> None:
    """`pathjax data build NAME ...`."""
    dataset = DATASETS[args.dataset]
    parser = argparse.ArgumentParser(
        prog=f"pathjax data build {args.dataset}", description=dataset.title()
    )
    add_options(parser, dataset)
    known = parser.parse_args(args.options)
    known.dataset, known.name = dataset, args.dataset
    run_build(known)


def run_build(args: argparse.Namespace) -> None:
    """Builds the study of `args.dataset` and prints what is in it."""
    from pathjax.progress import stage

    dataset = read_fields(args, args.dataset)
    with stage(args.name, 1) as bar:
        study = dataset.build(
            getattr(args, "source", None),
            args.out,
            lambda done, total: bar(done, total=total),
        )
    print_built(study)
    for name in study.split_names:
        split = study.split(name)
        sizes = ", ".join(f"{fold} {len(ids)}" for fold, ids in split.folds.items())
        note = f"; {split.note}" if split.note else ""
        print(f"split {name}: {sizes} {split.unit.removesuffix('_id')}s{note}")
