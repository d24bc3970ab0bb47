"""`pathjax tile`: whole slides to a study of tiles."""

import argparse
from pathlib import Path

from pathjax.commands.output import print_built


def add(commands) -> None:
    """Adds `tile`."""
    tile = commands.add_parser("tile", help="cut whole slides into tiles, as a study")
    tile.add_argument(
        "--slides", type=Path, required=True, help="folder, or CSV with column path"
    )
    tile.add_argument("--out", type=Path, required=True, metavar="STUDY")
    tile.add_argument("--name", default="tiles", help="name of the study")
    tile.add_argument(
        "--mpp", type=float, default=0.5, help="micrometres per pixel of the tiles"
    )
    tile.add_argument("--tile-px", type=int, default=224)
    tile.add_argument("--overlap", type=int, default=0, metavar="PX")
    tile.add_argument(
        "--min-tissue",
        type=float,
        default=0.35,
        help="minimum share of tissue in a tile, 0 to 1",
    )
    tile.add_argument(
        "--max-tiles", type=int, help="maximum tiles per slide, chosen at random"
    )
    tile.add_argument("--seed", type=int, default=0, help="random seed of --max-tiles")
    tile.add_argument("--tissue", choices=("otsu", "saturation"), default="otsu")
    tile.add_argument("--quality", type=int, default=90, help="JPEG quality")
    tile.add_argument(
        "--coordinates",
        type=Path,
        metavar="DIR",
        help="TRIDENT's or CLAM's h5 files, used instead of finding tissue",
    )
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
    tile.set_defaults(run=run_tile)


def run_tile(args: argparse.Namespace) -> int:
    from pathjax.progress import stage
    from pathjax.wsi.build import tile_study
    from pathjax.wsi.tile import TileOptions

    options = TileOptions(
        mpp=args.mpp,
        tile_px=args.tile_px,
        overlap=args.overlap,
        min_tissue=args.min_tissue,
        max_tiles=args.max_tiles,
        seed=args.seed,
        tissue=args.tissue,
        quality=args.quality,
        coordinates=args.coordinates and str(args.coordinates.absolute()),
    )
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
            progress=lambda done, total, note: bar(done, note, total),
        )
    print_built(study)
    skipped = int((study.slides["status"] == "skipped").sum())
    unused = len(study.meta["skipped"]) - skipped
    print(
        f"{len(study.slides) - skipped} slides tiled, {skipped} skipped"
        + (f", {unused} other things not used" if unused else "")
    )
    return 1 if args.strict and study.meta["skipped"] else 0
