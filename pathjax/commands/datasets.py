"""`pathjax data build` and a command for each shipped dataset.

Options come from the fields of the dataset class (pathjax/datasets/dataset.py).
"""

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

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


def add_fields(parser: argparse.ArgumentParser, options: type) -> None:
    """Adds an option for each field of a dataclass, `Annotated` with its help text."""
    hints = typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            **_argument(hints[field.name], field.default),
        )


def _argument(hint: Any, default: Any) -> dict[str, Any]:
    """Arguments of `add_argument` for a field of this type."""
    required = default is dataclasses.MISSING
    about: dict[str, Any] = {"required": True} if required else {"default": default}
    if typing.get_origin(hint) is Annotated:
        hint, about["help"], *_ = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
    if hint is bool:
        # An option that is on by default is switched off by --no-NAME.
        on = argparse.BooleanOptionalAction if default else "store_true"
        return about | {"action": on}
    if typing.get_origin(hint) is tuple:
        return about | {"type": typing.get_args(hint)[0], "nargs": "+"}
    if typing.get_origin(hint) is Literal:
        return about | {"choices": typing.get_args(hint)}
    return about | {"type": hint}


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

    values = {}
    for field in dataclasses.fields(args.dataset):
        value = getattr(args, field.name)
        values[field.name] = tuple(value) if isinstance(value, list) else value
    with stage(args.name, 1) as bar:
        study = args.dataset(**values).build(
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
