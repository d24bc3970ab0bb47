"""`pathjax tile`: whole slides to a study of tiles."""

import argparse
import os
from pathlib import Path

from pathjax.commands.options import add_fields, read_fields
from pathjax.commands.output import (
    add_shard,
    print_built,
    print_skipped,
    refuse_unused,
    remember_defaults,
)
from pathjax.wsi.options import TileOptions

OF_GRID = ("overlap", "min_tissue", "tissue")


def add(commands) -> None:
    """Adds `tile`."""
    tile = commands.add_parser("tile", help="cut whole slides into tiles, as a study")
    tile.add_argument(
        "--slides", type=Path, required=True, help="folder, or CSV with column path"
    )
    tile.add_argument("--out", type=Path, required=True, metavar="STUDY")
    tile.add_argument("--name", default="tiles", help="name of the study")
    add_fields(tile, TileOptions)
    tile.add_argument(
        "--mpp-csv",
        type=Path,
        metavar="FILE",
        help="CSV with columns wsi and mpp, which override the slides' own",
    )
    tile.add_argument(
        "--workers", type=int, help="number of processes (default: all cores)"
    )
    tile.add_argument(
        "--scheduler", metavar="ADDRESS", help="address of a running Dask cluster"
    )
    tile.add_argument(
        "--retry-skipped", action="store_true", help="try skipped slides again"
    )
    tile.add_argument(
        "--strict",
        action="store_true",
        help="exit with 1 if anything was skipped or not used",
    )
    add_shard(tile, "slides")
    remember_defaults(tile, (*OF_GRID, "seed", "workers"))
    tile.set_defaults(run=run_tile)


def run_tile(args: argparse.Namespace) -> int:
    from pathjax.parallel.shard import Shard
    from pathjax.progress import stage
    from pathjax.wsi.build import tile_study

    if args.coordinates:
        refuse_unused(args, OF_GRID, "--coordinates says where tiles are")
        # Workers may have another working directory.
        args.coordinates = os.path.abspath(args.coordinates)
    if args.max_tiles is None:
        refuse_unused(args, ("seed",), "without --max-tiles none are drawn at random")
    if args.scheduler:
        refuse_unused(args, ("workers",), "those of --scheduler work")
    options = read_fields(args, TileOptions)
    with stage("tile", 1) as bar:
        study = tile_study(
            args.slides,
            args.out,
            options,
            name=args.name,
            mpp_csv=args.mpp_csv,
            workers=args.workers,
            scheduler=args.scheduler,
            retry_skipped=args.retry_skipped,
            shard=Shard.parse(args.shard),
            progress=lambda done, total, note: bar(done, note, total),
        )
    if isinstance(study, list):
        lost = [
            {"what": report.slide_id, "reason": report.reason}
            for report in study
            if report.status == "skipped"
        ]
        print_skipped(lost, args.out / ".build")
        print(
            f"{args.out}, shard {args.shard}: {len(study) - len(lost)} slides tiled, "
            f"{len(lost)} skipped"
        )
        return 1 if args.strict and lost else 0
    print_built(study)
    skipped = int((study.slides["status"] == "skipped").sum())
    unused = len(study.meta["skipped"]) - skipped
    print(
        f"{len(study.slides) - skipped} slides tiled, {skipped} skipped"
        + (f", {unused} other things not used" if unused else "")
    )
    return 1 if args.strict and study.meta["skipped"] else 0
