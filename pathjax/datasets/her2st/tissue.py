"""Builds a study of unlabelled tissue tiles at several magnifications (pre-training).

Tiles form a grid over the tissue, on spots and between them, without expression. Only
the named sections are opened, so that a base model pre-trained on this study has never
seen the sections that it is tested on.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, StudyError
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.dataset import Progress
from pathjax.datasets.her2st.build import PROVENANCE
from pathjax.datasets.her2st.section import SITE, Slide, read_slide
from pathjax.datasets.her2st.source import SectionFiles, choose_sections
from pathjax.datasets.spatial.build import QUALITY, unless_kept
from pathjax.datasets.spatial.image import cut_tile
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.survey import survey

MIN_TISSUE = 0.5  # share of a tile


def build_her2st_tissue(
    source: str | Path,
    out: str | Path,
    *,
    sections: tuple[str, ...] = ("C2", "C3", "C4"),
    tile_ums: tuple[float, ...] = (56.0, 112.0, 224.0),
    tile_px: int = 128,
    progress: Progress = lambda done, total: None,
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
    sections_made: dict[str, Any] = {}  # the writer writes it last
    writer = StudyWriter(
        out,
        name="her2st-tissue",
        tile_px=tile_px,
        mpp=min(tile_ums) / tile_px,
        provenance={
            **PROVENANCE,
            "tiles": "on a grid over tissue; no labels, no expression",
            "sections": sections_made,
        },
        build={
            "tile_ums": list(tile_ums),
            "tile_px": tile_px,
            "overlap": 0.0,
            "min_tissue": MIN_TISSUE,
            "jpeg_quality": QUALITY,
        },
    )
    used: list[SectionFiles] = []
    for done, files in enumerate(chosen, start=1):
        try:
            # A viewer's copy is too coarse, and has a map with drawn lines pasted in.
            slide = read_slide(files, viewer=False)
            cut = functools.partial(
                _cut_tissue, writer, files, slide, tile_ums, tile_px
            )
            source = f"{slide.image.digest} {slide.mpp}"
            sections_made[files.section] = unless_kept(
                writer, files.section, source, cut
            )
        except StudyError as error:
            writer.skip(files.section, str(error))
        else:
            used.append(files)
        progress(done, len(chosen))
    names = [files.section for files in used]
    patients = [files.patient for files in used]
    samples = {"sample_id": names, "patient_id": patients, "site": SITE}
    folds = {"train": tuple(sorted(set(patients)))}
    return writer.finish(
        samples=pd.DataFrame(samples).assign(slide_id=names),
        splits=[Split("all", folds, note="pre-training: nothing is held out")],
    )


def _cut_tissue(
    writer: StudyWriter,
    files: SectionFiles,
    slide: Slide,
    tile_ums: tuple[float, ...],
    tile_px: int,
) -> dict[str, Any]:
    """Writes tiles on a grid over the tissue; returns what to record."""
    seen = survey(slide.image, slide.mpp)
    mask, block, background = seen.tissue, seen.block, seen.background
    image = slide.image.read(0, 0, *slide.image.size)
    grids = {
        tile_um: tissue_grid(mask, tile_um / slide.mpp / block) for tile_um in tile_ums
    }
    if not any(grids.values()):
        raise SpatialError(
            f"{slide.image.path}: no place where {MIN_TISSUE:.0%} of a tile is tissue"
        )
    with writer.shard(files.section) as shard:
        for tile_um, grid in grids.items():
            side = tile_um / slide.mpp
            for left, top, share in grid:
                x, y = left * block, top * block
                centre = (x + side / 2, y + side / 2)
                tile, _ = cut_tile(image, centre, side, tile_px, background)
                shard.add(
                    encode_jpeg(tile, QUALITY),
                    tile_id=f"{files.section}_{tile_um:g}um_{round(x)}x{round(y)}",
                    sample_id=files.section,
                    patient_id=files.patient,
                    site=SITE,
                    x=round(x),
                    y=round(y),
                    mpp=tile_um / tile_px,
                    tile_um=float(tile_um),
                    tissue=share,
                )
    area = float(mask.sum()) * (block * slide.mpp / 1000) ** 2
    counts = {f"{tile_um:g} um": len(grid) for tile_um, grid in grids.items()}
    return {
        "image": slide.image.path.name,
        "mpp": round(slide.mpp, 5),
        "sha256": slide.image.digest,
        "tissue_mm2": round(area, 3),
        "tiles": counts,
    }


def tissue_grid(
    mask: Bool[np.ndarray, "h w"], side: float
) -> list[tuple[float, float, float]]:
    """Left, top and share of tissue of the squares of a grid with MIN_TISSUE or more.

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
            if share >= MIN_TISSUE:
                squares.append((float(left), float(top), float(share)))
    return squares
