"""`pathjax data gene-sets`: scores of gene sets in place of genes."""

import argparse
from pathlib import Path

from pathjax.commands.output import print_study


def add(kinds) -> None:
    """Adds `gene-sets` to the commands of `data`."""
    parser = kinds.add_parser(
        "gene-sets",
        help="score gene sets, as targets and tasks in place of genes",
        description="Writes a study of the same tiles whose expression is a score per gene "
        "set of a GMT file (docs/towers.md).",
    )
    parser.add_argument("study", type=Path, help="study folder")
    parser.add_argument("--out", type=Path, required=True, metavar="STUDY")
    parser.add_argument(
        "--gmt", type=Path, required=True, metavar="FILE", help="the gene sets"
    )
    parser.add_argument(
        "--method",
        choices=["mean_z", "ssgsea"],
        default="mean_z",
        help="mean z-score of the genes, or ssGSEA (needs the extra gene-sets; default: "
        "mean_z)",
    )
    parser.add_argument("--split", required=True, help="split that has the fold")
    parser.add_argument(
        "--fit", default="train", help="fold that z-scores are by (default: train)"
    )
    parser.add_argument(
        "--min-genes", type=int, default=5, help="genes that a set must have"
    )
    parser.add_argument("--name", help="name of the new study (default: NAME-METHOD)")
    parser.set_defaults(run=run_gene_sets)


def run_gene_sets(args: argparse.Namespace) -> None:
    from pathjax.data.set_scores import score_sets
    from pathjax.data.study import Study

    study, notes = score_sets(
        Study(args.study),
        args.out,
        args.gmt,
        method=args.method,
        split=args.split,
        fit=args.fit,
        min_genes=args.min_genes,
        name=args.name,
    )
    print_study(study, notes)
