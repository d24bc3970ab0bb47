"""`pathjax data tcga-rna`: the bulk RNA of TCGA as one file."""

import argparse
from pathlib import Path

from pathjax.commands.output import print_skipped


def add(kinds) -> None:
    """Adds `tcga-rna` to the commands of `data`."""
    rna = kinds.add_parser("tcga-rna", help="write bulk RNA of TCGA as one AnnData")
    rna.add_argument(
        "--source",
        type=Path,
        required=True,
        help="folder of GDC STAR counts, Xena matrix, PORPOISE table, or a folder of "
        "either of the last two",
    )
    rna.add_argument(
        "--sample-sheet",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="GDC's sample sheets or cart metadata; default: those in --source",
    )
    rna.add_argument(
        "--gene-map",
        type=Path,
        metavar="FILE",
        help="symbols and types of Ensembl ids: Xena's probe map or any GDC STAR file",
    )
    rna.add_argument("--out", type=Path, required=True, metavar="FILE.h5ad")
    rna.add_argument(
        "--keep-all-genes", action="store_true", help="also keep non-coding genes"
    )
    rna.add_argument("--units", help="units of a matrix, if they cannot be determined")
    rna.add_argument(
        "--ffpe",
        action="store_true",
        help="also read formalin-fixed samples, whose RNA is degraded",
    )
    rna.add_argument(
        "--strict", action="store_true", help="fail when anything has to be skipped"
    )
    rna.set_defaults(run=run_tcga_rna)


def run_tcga_rna(args: argparse.Namespace) -> None:
    from pathjax.datasets.tcga.rna import read_rna, skipped_of, write_rna
    from pathjax.progress import stage

    with stage("tcga rna", 1) as bar:
        rna = read_rna(
            args.source,
            sample_sheet=args.sample_sheet,
            gene_map=args.gene_map,
            units=args.units,
            keep_all_genes=args.keep_all_genes,
            ffpe=args.ffpe,
            strict=args.strict,
            progress=lambda done, total: bar(done, total=total),
        )
    write_rna(rna, args.out)
    history = rna.uns["pathjax"]
    print(f"{args.out}: {rna.n_obs} samples, {rna.n_vars} genes, {history['x']}")
    print(f"read as {history['units']}: {'; '.join(history['evidence'][:2])}")
    for note in history["notes"]:
        print(f"note: {note}")
    print_skipped(skipped_of(rna), args.out)
