"""`pathjax data spatial`: a study of spatial transcriptomics in any known format."""

import argparse
from pathlib import Path

from pathjax.commands.options import add_fields, read_fields
from pathjax.commands.output import print_built
from pathjax.datasets.spatial.options import SpatialOptions


def add(kinds) -> None:
    """Adds `spatial` to the commands of `data`."""
    parser = kinds.add_parser(
        "spatial",
        help="spatial transcriptomics: Visium and others",
        description="Each SAMPLE is recognised by its content (docs/spatial.md).",
    )
    parser.add_argument(
        "samples", type=Path, nargs="*", metavar="SAMPLE", help="folder or file"
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="CSV with path and optionally sample, patient, site, image, mpp; other "
        "columns are labels",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="STUDY")
    add_fields(parser, SpatialOptions)
    parser.set_defaults(run=run_spatial)


def run_spatial(args: argparse.Namespace) -> None:
    from pathjax.datasets.spatial.build import build_spatial
    from pathjax.datasets.spatial.manifest import rows_of
    from pathjax.progress import stage

    options = read_fields(args, SpatialOptions)
    rows = rows_of(args.samples, args.manifest, options)
    with stage("spatial", len(rows)) as bar:
        study = build_spatial(
            rows, args.out, options, progress=lambda done, total: bar(done, total=total)
        )
    print_built(study)
    for name, about in study.meta["provenance"]["samples"].items():
        evidence = ", ".join(
            f"{source} {value:.4g}" for source, value in about["mpp_evidence"].items()
        )
        print(
            f"{name}: {about['technology']}, {about['spots']} spots, "
            f"{about['mpp']:.4g} um/px ({evidence})"
        )
