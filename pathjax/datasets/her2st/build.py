"""Builds the paired study: a sample is a spot with one tile and its counts.

A bad spot is left out, and so is a bad section; study.json lists both with reasons. It
is an error only if nothing is left to build.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, StudyError, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.her2st.expression import expression_table
from pathjax.datasets.her2st.image import (
    background_colour,
    blanked,
    block_px,
    read_image,
)
from pathjax.datasets.her2st.section import Section, Slide, read_section
from pathjax.datasets.her2st.source import SectionError, choose_sections
from pathjax.datasets.spatial.image import cut_tile
from pathjax.files import write_json

Row = dict[str, Any]

SITE = "her2st"
QUALITY = 90  # of the JPEG tiles
# A tile enlarged more than this shows less than its mpp promises. Upstream's images
# are enlarged 1.37 times at 112 um in 224 px, the viewer's copies more than 6 times.
UPSAMPLED_FROM = 1.5

PROVENANCE = {
    "source": "her2st: Andersson et al. 2021, doi:10.1038/s41467-021-26271-2; "
    "github.com/almaan/her2st, Zenodo record 3957257",
    "licence": "the archive's own (Zenodo record 3957257); not checked by pathjax",
    "mpp": "200 micrometres between neighbouring spots, divided by the fitted step in "
    "pixels; per section below",
}

C_SECTIONS = (
    Split(
        name="c_sections",
        unit="slide_id",
        folds={
            "train": ("C2", "C3", "C4"),
            "new_section": ("C5",),
            "new_patient": ("B4",),
        },
        shared_patients=("C",),
        note="new_section holds out a section of the training patient, which says "
        "nothing of new patients; new_patient does, for one patient",
    ),
    Split(
        name="c_sections_dev",
        unit="slide_id",
        folds={"train": ("C2", "C3"), "val": ("C4",)},
        shared_patients=("C",),
        note="for choosing hyper-parameters without touching C5 or B4",
    ),
)


def build_her2st(
    source: str | Path,
    out: str | Path,
    *,
    tile_um: float = 112.0,
    tile_px: int = 224,
    sections: tuple[str, ...] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Builds the her2st study, or completes the one in `out`.

    Args:
      source: The unpacked data (see source.py).
      out: The study's directory.
      tile_um, tile_px: Side of a tile in micrometres (a spot is 100 wide) and pixels.
      sections: Which sections; None for all.
      progress: Called with (spots done, spots in all).

    Returns:
      The study. Besides targets, samples have `array_x`, `array_y` (array position),
      `pixel_x`, `pixel_y` (image pixels), `source_mpp` (of the image), `enlargement`
      (tile pixels per image pixel) and `upsampled` (enlargement above 1.5). Tiles have
      `filled`, the share of their area outside the picture.

    Raises:
      StudyError: nothing can be built, or `out` was begun with other parameters.
    """
    if not (tile_um > 0 and tile_px > 0):
        raise StudyError(f"expected sizes above 0, got tile_um {tile_um}, {tile_px} px")
    read, skipped = [], []
    for files in choose_sections(source, sections):
        try:
            read.append(read_section(files))
        except SectionError as error:
            skipped.append((files.section, str(error)))
    _refuse_none(read, source, skipped)
    provenance = {**PROVENANCE, "sections": {}}
    writer = StudyWriter(
        out,
        name="her2st",
        tile_px=tile_px,
        mpp=tile_um / tile_px,
        gene_id_type="symbol",
        synthetic=False,
        provenance=provenance,
        build={"tile_um": tile_um, "tile_px": tile_px, "jpeg_quality": QUALITY},
    )
    total = sum(len(section.sample_ids) for section in read)
    done = 0
    used = []
    for section in read:
        name = section.slide.section
        cut = functools.partial(_cut_spots, section, tile_um, tile_px)
        try:
            info = write_shard(writer, section.slide, cut)
        except SectionError as error:
            skipped.append((name, str(error)))
        else:
            # The writer writes provenance last, in finish().
            provenance["sections"][name] = section.slide.facts() | info
            used.append(section)
        done += len(section.sample_ids)
        if progress:
            progress(done, total)
    _refuse_none(used, source, skipped)

    splits, missing = splits_for(used)
    notes = [note for section in used for note in section.notes]
    for what, reason in [*skipped, *notes, *missing]:
        writer.skip(what, reason)
    samples = sample_table(used, tile_um, tile_px)
    return writer.finish(
        samples=samples,
        targets=targets_for(samples),
        splits=splits,
        expression=expression_table(used),
    )


def _refuse_none(
    sections: list[Section], source: str | Path, skipped: list[tuple[str, str]]
) -> None:
    if not sections:
        reasons = "\n".join(f"  - {what}: {reason}" for what, reason in skipped)
        raise StudyError(f"no section of {source} can be used:\n{reasons}")


def write_shard(
    writer: StudyWriter,
    slide: Slide,
    cut: Callable[[UInt8[np.ndarray, "H W 3"]], tuple[list[Row], Row]],
) -> Row:
    """Writes a section's tiles, unless they were cut from the same files before.

    `cut` gives arguments of `ShardWriter.add` for each tile of the decoded image, and
    what to record in the provenance, which is returned.
    """
    # The writer knows whether a shard is complete; this file, whether its sources have
    # changed since.
    path = writer.root / ".build" / f"{slide.section}.sources.json"
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["sources"] == slide.sources and writer.has_shard(slide.section):
            return kept["made"]
    rows, info = cut(read_image(slide.path))
    with writer.shard(slide.section) as shard:
        for row in rows:
            shard.add(patient_id=slide.patient, site=SITE, **row)
    write_json(path, {"sources": slide.sources, "made": info})
    return info


def _cut_spots(
    section: Section,
    tile_um: float,
    tile_px: int,
    image: UInt8[np.ndarray, "H W 3"],
) -> tuple[list[Row], Row]:
    """One tile per spot, for `write_shard`."""
    slide = section.slide
    background = background_colour(image, block_px(slide.mpp))
    blank = blanked(image) if slide.viewer else None
    side = tile_um / slide.mpp
    rows = []
    for sample_id, spot in zip(
        section.sample_ids, slide.spots.itertuples(), strict=True
    ):
        centre = (spot.pixel_x, spot.pixel_y)
        tile, filled = cut_tile(image, centre, side, tile_px, background, blank)
        rows.append(
            {
                "data": encode_jpeg(tile, QUALITY),
                "tile_id": sample_id,
                "sample_id": sample_id,
                "x": round(spot.pixel_x - side / 2),
                "y": round(spot.pixel_y - side / 2),
                "mpp": tile_um / tile_px,
                "filled": filled,
            }
        )
    return rows, {
        "background_rgb": background.tolist(),
        "tiles": len(rows),
        "tiles_with_filled_edges": sum(row["filled"] > 0 for row in rows),
        "source_px_per_tile": round(side, 1),
        "upsampled": tile_px / side > UPSAMPLED_FROM,
    }


def sample_table(sections: list[Section], tile_um: float, tile_px: int) -> pd.DataFrame:
    """A row per spot, in the order of the expression."""
    frames = []
    for section in sections:
        slide = section.slide
        enlargement = tile_px / (tile_um / slide.mpp)
        frames.append(
            pd.DataFrame(
                {
                    "sample_id": section.sample_ids,
                    "patient_id": slide.patient,
                    "site": SITE,
                    "slide_id": slide.section,
                    "array_x": [x for x, _ in slide.spots.index],
                    "array_y": [y for _, y in slide.spots.index],
                    "pixel_x": slide.spots["pixel_x"].to_numpy(),
                    "pixel_y": slide.spots["pixel_y"].to_numpy(),
                    "source_mpp": slide.mpp,
                    "enlargement": enlargement,
                    "upsampled": enlargement > UPSAMPLED_FROM,
                    "cluster": pd.Series(section.cluster, dtype=object),
                    "pathologist": pd.Series(section.pathologist, dtype=object),
                    "total_counts": np.asarray(section.counts.sum(axis=1)).ravel(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def targets_for(samples: pd.DataFrame) -> list[Target]:
    """Targets with at least one value."""
    described = {
        "cluster": "upstream's expression cluster; numbers are per patient, so is the "
        "name: C:3 has nothing to do with B:3",
        "pathologist": "tissue type by a pathologist; undetermined is missing",
    }
    targets = []
    for name, text in described.items():
        classes = tuple(sorted(samples[name].dropna().unique()))
        if classes:
            targets.append(Target(name, "sample", "class", classes, text))
    text = "counts of the spot over all genes"
    return [*targets, Target("total_counts", "sample", "number", (), text)]


def splits_for(sections: list[Section]) -> tuple[list[Split], list[tuple[str, str]]]:
    """Splits whose sections are all present, and the reasons for leaving out others."""
    slides = {section.slide.section for section in sections}
    patients = sorted({section.slide.patient for section in sections})
    splits, missing = [], []
    if {"B", "C"} <= set(patients):
        folds = {"train": ("C",), "test": ("B",)}
        other = tuple(name for name in patients if name not in ("B", "C"))
        if other:
            folds["other"] = other
        splits.append(Split("patients", folds, note="train on C, test on B"))
    else:
        reason = f"needs patients B and C, the study has {', '.join(patients)}"
        missing.append(("split patients", reason))
    for split in C_SECTIONS:
        lacking = sorted(
            {name for fold in split.folds.values() for name in fold} - slides
        )
        if lacking:
            reason = f"needs missing sections: {', '.join(lacking)}"
            missing.append((f"split {split.name}", reason))
        else:
            splits.append(split)
    return splits, missing
