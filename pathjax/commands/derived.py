"""`pathjax data correct` and `data gene-sets`: a study with other expression from a study."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pathjax.commands.options import add_fields, read_fields
from pathjax.commands.output import print_study


@dataclass(frozen=True)
class Fit:
    """What is fitted on, and the name of the study."""

    split: Annotated[str, "split that has the fold"]
    fit: Annotated[str, "fold to fit on (default: train)"] = "train"
    name: Annotated[str | None, "name of the new study (default: NAME-METHOD)"] = None


@dataclass(frozen=True)
class Correct:
    """How batch effects are removed; see pathjax/data/correct.py."""

    method: Annotated[
        Literal["combat", "center"],
        "ComBat (needs the extra spatial), or centring of each batch",
    ]
    batch: Annotated[
        Literal["sample", "patient", "site"],
        "what a batch is; a sample of tissue is a slide (default: sample)",
    ] = "sample"
    unseen: Annotated[
        Literal["refuse", "keep", "center"],
        "batches without samples in the fold: refuse them, keep their values, or centre "
        "each by its own mean (default: refuse)",
    ] = "refuse"


@dataclass(frozen=True)
class GeneSets:
    """How gene sets are scored; see pathjax/data/set_scores.py."""

    gmt: Annotated[Path, "the gene sets", "FILE"]
    method: Annotated[
        Literal["mean_z", "ssgsea"],
        "mean z-score of the genes by the fold, or ssGSEA (needs the extra gene-sets; "
        "default: mean_z)",
    ] = "mean_z"
    min_genes: Annotated[int, "genes that a set must have"] = 5


def add(kinds) -> None:
    """Adds `correct` and `gene-sets` to the commands of `data`."""
    correct = kinds.add_parser(
        "correct",
        help="remove batch effects from expression",
        description="Writes a study with corrected expression. What is fitted is fitted "
        "on the samples of --fit alone (docs/study.md).",
    )
    gene_sets = kinds.add_parser(
        "gene-sets",
        help="score gene sets, as targets and tasks in place of genes",
        description="Writes a study of the same tiles whose expression is a score per gene "
        "set of a GMT file (docs/towers.md).",
    )
    for parser, options in ((correct, Correct), (gene_sets, GeneSets)):
        parser.add_argument("study", type=Path, help="study folder")
        parser.add_argument("--out", type=Path, required=True, metavar="STUDY")
        add_fields(parser, options)
        add_fields(parser, Fit)
    correct.set_defaults(run=run_correct)
    gene_sets.set_defaults(run=run_gene_sets)


def run_correct(args: argparse.Namespace) -> None:
    from pathjax.data.correct import correct
    from pathjax.data.study import Study

    options = vars(read_fields(args, Correct)) | vars(read_fields(args, Fit))
    print_study(*correct(Study(args.study), args.out, **options))


def run_gene_sets(args: argparse.Namespace) -> None:
    from pathjax.data.set_scores import score_sets
    from pathjax.data.study import Study

    options = vars(read_fields(args, GeneSets)) | vars(read_fields(args, Fit))
    print_study(*score_sets(Study(args.study), args.out, **options))
