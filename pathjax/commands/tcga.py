"""`pathjax data tcga` and `tcga-rna`: slides, RNA and labels of TCGA."""

import argparse
from pathlib import Path

from pathjax.commands.output import print_built, print_skipped


def add(kinds) -> None:
    """Adds both to the commands of `data`."""
    rna = kinds.add_parser("tcga-rna", help="bulk RNA of TCGA as one AnnData")
    rna.add_argument(
        "--source",
        type=Path,
        required=True,
        help="folder of GDC STAR counts, Xena matrix, PORPOISE table, or a folder of "
        "either of these",
    )
    rna.add_argument(
        "--sample-sheet",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="GDC's sample sheets or cart metadata; those in --source if left",
    )
    rna.add_argument(
        "--gene-map",
        type=Path,
        metavar="FILE",
        help="symbols and types of Ensembl ids: Xena's probe map or any GDC STAR file",
    )
    rna.add_argument("--out", type=Path, required=True, metavar="FILE.h5ad")
    rna.add_argument(
        "--keep-all-genes",
        action="store_true",
        help="also genes that code for no protein",
    )
    rna.add_argument("--units", help="of a matrix, where they cannot be told")
    rna.add_argument(
        "--strict", action="store_true", help="fail when anything has to be left out"
    )
    rna.set_defaults(run=run_tcga_rna)
    tcga = kinds.add_parser("tcga", help="pair slides, RNA and labels of TCGA")
    tcga.add_argument(
        "--slides",
        type=Path,
        required=True,
        help="study of `pathjax tile`, or slides to tile: a folder or a manifest",
    )
    tcga.add_argument(
        "--rna", type=Path, required=True, help="of `pathjax data tcga-rna`"
    )
    tcga.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="tables by patient, sample or slide, and MAFs (for TP53)",
    )
    tcga.add_argument(
        "--sequenced",
        type=Path,
        metavar="FILE",
        help="samples that were sequenced, one a line: wild type if a MAF lacks them",
    )
    tcga.add_argument("--out", type=Path, required=True, metavar="STUDY")
    tcga.add_argument(
        "--frozen", action="store_true", help="frozen sections (TS, MS, BS) too"
    )
    tcga.add_argument(
        "--aliquots",
        choices=("first", "mean"),
        default="first",
        help="which of several of a patient's",
    )
    tcga.add_argument(
        "--keep-unpaired",
        action="store_true",
        help="keep patients without RNA, for labels alone",
    )
    tcga.add_argument(
        "--no-site-preserved",
        action="store_true",
        help="split by patient; else whole sites where that can be done",
    )
    tcga.add_argument("--seed", type=int, default=0, help="of the splits")
    tcga.set_defaults(run=run_tcga)


def run_tcga(args: argparse.Namespace) -> None:
    from pathjax.datasets.tcga.build import build_tcga
    from pathjax.progress import stage

    with stage("tcga", 1) as bar:
        study = build_tcga(
            args.slides,
            args.rna,
            args.labels,
            args.out,
            sequenced=args.sequenced,
            frozen=args.frozen,
            keep_unpaired=args.keep_unpaired,
            aliquots=args.aliquots,
            site_preserved=not args.no_site_preserved,
            seed=args.seed,
            progress=lambda done, total: bar(done, total=total),
        )
    print_built(study)
    for name in study.split_names:
        split = study.split(name)
        sizes = ", ".join(f"{fold} {len(ids)}" for fold, ids in split.folds.items())
        print(f"split {name}: {sizes} patients; {split.note}")


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
