"""Builds a study of unlabelled tissue tiles at several magnifications (pre-training).

Tiles form a grid over the tissue, on spots and between them, without expression. Only
the named sections are opened, so that a base model pre-trained on this study has never
seen the sections that it is tested on.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, UInt8

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, StudyError
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.her2st.build import PROVENANCE, QUALITY, SITE, Row, write_shard
from pathjax.datasets.her2st.image import (
    background_colour,
    block_px,
    tissue_mask,
)
from pathjax.datasets.her2st.section import Slide, read_slide
from pathjax.datasets.her2st.source import SectionError, choose_sections
from pathjax.datasets.spatial.image import cut_tile

MIN_TISSUE = 0.5  # share of a tile


def build_her2st_tissue(
    source: str | Path,
    out: str | Path,
    *,
    sections: tuple[str, ...] = ("C2", "C3", "C4"),
    tile_ums: tuple[float, ...] = (56.0, 112.0, 224.0),
    tile_px: int = 128,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Builds the tissue study, or completes the one in `out`.

    Args:
      source: The unpacked data (see source.py); counts are not needed.
      out: The study's directory.
      sections: Which sections; no other is opened.
      tile_ums: Sides of tiles in micrometres; all are stored with `tile_px` pixels.
      tile_px: Side of a stored tile.
      progress: Called with (sections done, sections in all).

    Returns:
      The study: a sample is a section; tiles have `tile_um` and `tissue` (the share);
      split "all" has one fold, train. The study's mpp is that of the finest tiles;
      each tile's row has its own.

    Raises:
      StudyError: a section does not exist, none can be used, or `out` was begun with
        other parameters.
    """
    if not tile_ums or min(tile_ums) <= 0 or tile_px <= 0:
        raise StudyError(
            f"expected sizes above 0, got tile_ums {tile_ums}, tile_px {tile_px}"
        )
    chosen = choose_sections(source, sections)
    provenance = {
        **PROVENANCE,
        "tiles": "on a grid over tissue; no labels, no expression",
        "sections": {},
    }
    writer = StudyWriter(
        out,
        name="her2st-tissue",
        tile_px=tile_px,
        mpp=min(tile_ums) / tile_px,
        gene_id_type=None,
        synthetic=False,
        provenance=provenance,
        build={
            "tile_ums": list(tile_ums),
            "tile_px": tile_px,
            "overlap": 0.0,
            "min_tissue": MIN_TISSUE,
            "jpeg_quality": QUALITY,
        },
    )
    used = []
    for done, files in enumerate(chosen, start=1):
        try:
            # A viewer's copy is too coarse, and has a map with drawn lines pasted in.
            slide = read_slide(files, viewer=False)
            cut = functools.partial(_cut_tissue, slide, tile_ums, tile_px)
            info = write_shard(writer, slide, cut)
        except SectionError as error:
            writer.skip(files.section, str(error))
        else:
            provenance["sections"][slide.section] = slide.facts() | info
            used.append(slide)
        if progress:
            progress(done, len(chosen))
    patients = tuple(sorted({slide.patient for slide in used}))
    return writer.finish(
        samples=pd.DataFrame(
            {
                "sample_id": [slide.section for slide in used],
                "patient_id": [slide.patient for slide in used],
                "site": SITE,
                "slide_id": [slide.section for slide in used],
            }
        ),
        targets=[],
        splits=[
            Split("all", {"train": patients}, note="pre-training: nothing is held out")
        ],
    )


def _cut_tissue(
    slide: Slide,
    tile_ums: tuple[float, ...],
    tile_px: int,
    image: UInt8[np.ndarray, "H W 3"],
) -> tuple[list[Row], Row]:
    """Tiles on a grid over the tissue, for `write_shard`."""
    block = block_px(slide.mpp)
    mask = tissue_mask(image, block)
    background = background_colour(image, block)
    rows: list[Row] = []
    counts = {}
    for tile_um in tile_ums:
        side = tile_um / slide.mpp
        grid = tissue_grid(mask, side / block)
        counts[f"{tile_um:g} um"] = len(grid)
        for left, top, share in grid:
            x, y = left * block, top * block
            centre = (x + side / 2, y + side / 2)
            tile, _ = cut_tile(image, centre, side, tile_px, background)
            rows.append(
                {
                    "data": encode_jpeg(tile, QUALITY),
                    "tile_id": f"{slide.section}_{tile_um:g}um_{round(x)}x{round(y)}",
                    "sample_id": slide.section,
                    "x": round(x),
                    "y": round(y),
                    "mpp": tile_um / tile_px,
                    "tile_um": float(tile_um),
                    "tissue": share,
                }
            )
    if not rows:
        raise SectionError(
            f"{slide.path}: no place where {MIN_TISSUE:.0%} of a tile is tissue"
        )
    area = float(mask.sum()) * (block * slide.mpp / 1000) ** 2
    return rows, {"tissue_mm2": round(area, 3), "tiles": counts}


def tissue_grid(
    mask: Bool[np.ndarray, "h w"], side: float, min_tissue: float = MIN_TISSUE
) -> list[tuple[float, float, float]]:
    """Left, top and share of tissue of the squares of a grid with enough tissue.

    In blocks, of which `mask` has one value each; `side` may be fractional.
    """
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    squares = []
    for top in np.arange(0.0, height - side + 1e-9, side):
        for left in np.arange(0.0, width - side + 1e-9, side):
            y0, x0 = int(top), int(left)
            y1, x1 = max(y0 + 1, round(top + side)), max(x0 + 1, round(left + side))
            y1, x1 = min(y1, height), min(x1, width)
            held = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
            share = held / ((y1 - y0) * (x1 - x0))
            if share >= min_tissue:
                squares.append((float(left), float(top), float(share)))
    return squares
