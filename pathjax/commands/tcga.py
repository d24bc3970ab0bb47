"""`pathjax data tcga-rna` and `tcga-mutations`: bulk RNA as one file; rates of mutations."""

import argparse
import dataclasses
from pathlib import Path
from typing import Annotated

from pathjax.commands.options import add_fields, read_fields
from pathjax.commands.output import print_skipped

MOST_GENES = 30  # that are printed


@dataclasses.dataclass(frozen=True)
class Rna:
    """What `read_rna` takes."""

    source: Annotated[
        Path,
        "folder of GDC STAR counts, Xena matrix, PORPOISE table, or a folder of either of "
        "the last two",
    ]
    sample_sheet: Annotated[
        tuple[Path, ...],
        "GDC's sample sheets or cart metadata; default: those in --source",
        "FILE",
    ] = ()
    gene_map: Annotated[
        Path | None,
        "symbols and types of Ensembl ids: Xena's probe map or any GDC STAR file",
        "FILE",
    ] = None
    keep_all_genes: Annotated[bool, "also keep non-coding genes"] = False
    units: Annotated[str | None, "units of a matrix, if they cannot be determined"] = (
        None
    )
    ffpe: Annotated[bool, "also read formalin-fixed samples, whose RNA is degraded"] = (
        False
    )
    strict: Annotated[bool, "fail when anything has to be skipped"] = False


def add(kinds) -> None:
    """Adds the commands to `data`."""
    rna = kinds.add_parser("tcga-rna", help="write bulk RNA of TCGA as one AnnData")
    add_fields(rna, Rna)
    rna.add_argument("--out", type=Path, required=True, metavar="FILE.h5ad")
    rna.set_defaults(run=run_tcga_rna)
    rates = kinds.add_parser(
        "tcga-mutations", help="print how often genes are mutated, by cancer type"
    )
    rates.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="tables of labels and MAFs, as `pathjax data tcga` takes them",
    )
    rates.add_argument("--sequenced", type=Path, help="see `pathjax data tcga`")
    rates.add_argument(
        "--mutations",
        nargs="+",
        default=["30"],
        metavar="GENE|N",
        help="genes, or all that are mutated in at least N patients (default: 30)",
    )
    rates.add_argument(
        "--out", type=Path, metavar="FILE.csv", help="also write all rates here"
    )
    rates.set_defaults(run=run_tcga_mutations)


def run_tcga_rna(args: argparse.Namespace) -> None:
    from pathjax.datasets.tcga.rna import read_rna, skipped_of, write_rna
    from pathjax.progress import stage

    options = dataclasses.asdict(read_fields(args, Rna))
    with stage("tcga rna", 1) as bar:
        rna = read_rna(**options, progress=lambda done, total: bar(done, total=total))
    write_rna(rna, args.out)
    history = rna.uns["pathjax"]
    print(f"{args.out}: {rna.n_obs} samples, {rna.n_vars} genes, {history['x']}")
    print(f"read as {history['units']}: {'; '.join(history['evidence'][:2])}")
    for note in history["notes"]:
        print(f"note: {note}")
    print_skipped(skipped_of(rna), args.out)


def run_tcga_mutations(args: argparse.Namespace) -> None:
    from pathjax.datasets.tcga.labels import read_labels
    from pathjax.datasets.tcga.rates import mutation_rates
    from pathjax.files import atomic_path
    from pathjax.modalities.sources import label_notes

    read = read_labels(args.labels, args.sequenced, args.mutations)
    rates = mutation_rates(read.table)
    texts = [f"{100 * row.rate:.1f}% of {row.patients}" for row in rates.itertuples()]
    shown = rates.assign(text=texts).pivot(
        index="gene", columns="cancer_type", values="text"
    )
    kinds = ["all", *(kind for kind in shown.columns if kind != "all")]
    shown = shown.loc[list(dict.fromkeys(rates["gene"])), kinds].fillna("")
    print(shown.head(MOST_GENES).rename_axis(index=None, columns=None).to_string())
    if len(shown) > MOST_GENES:
        print(f"and {len(shown) - MOST_GENES} more genes: see --out")
    for note in label_notes(read):
        print(f"note: {note}")
    if args.out:
        with atomic_path(args.out) as partial:
            rates.to_csv(partial, index=False, float_format="%.4f")
        print(args.out)
