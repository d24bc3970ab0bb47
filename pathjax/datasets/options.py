"""Options of datasets that their builders take whole; the registry adds how to build.

Only fields with their help texts, so that neither the command line nor a builder imports
the other.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal


@dataclasses.dataclass(frozen=True)
class ImageOptions:
    """Of a study of images with a table."""

    targets: Annotated[
        tuple[str, ...],
        "columns to predict: COLUMN for classes, COLUMN:number, or COLUMN:survival",
    ] = ()
    fold: Annotated[
        str | None, "column with each patient's fold, for a split called folds"
    ] = None
    tile_px: Annotated[int, "side of a tile in pixels"] = 224
    mpp: Annotated[float, "micrometres per pixel of the tiles"] = 0.5
    name: Annotated[str, "name of the study"] = "images"
    strict: Annotated[bool, "fail if anything that was given is not used"] = False


@dataclasses.dataclass(frozen=True)
class TcgaOptions:
    """Of a study of TCGA's slides, RNA and labels."""

    slides: Annotated[
        Path, "study of `pathjax tile`, or slides to tile: a folder or a manifest"
    ]
    rna: Annotated[Path, "file written by `pathjax data tcga-rna`"]
    labels: Annotated[tuple[Path, ...], "tables by patient, sample or slide, and MAFs"]
    mutations: Annotated[
        tuple[str, ...],
        "genes to have as targets mutation:GENE, or a number: those with as many mutated",
    ] = ()
    sequenced: Annotated[
        Path | None,
        "list of sequenced samples, one per line: wild type if a MAF lacks them",
    ] = None
    frozen: Annotated[bool, "also use frozen sections (TS, MS, BS)"] = False
    aliquots: Annotated[
        Literal["first", "mean"], "how to combine several aliquots of a patient"
    ] = "first"
    keep_unpaired: Annotated[bool, "keep patients without RNA, for labels alone"] = (
        False
    )
    site_preserved: Annotated[
        bool,
        "keep whole sites in one fold where possible (default), or split by patient",
    ] = True
    seed: Annotated[int, "random seed of the splits"] = 0
    strict: Annotated[bool, "fail if anything that was given is not used"] = False
