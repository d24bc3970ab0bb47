"""Builds the paired study: a sample is a spot with one tile and its counts.

What is wrong with a spot costs the spot, what is wrong with a section costs the
section; both are named in study.json. Fatal is only what leaves nothing to build.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, StudyError, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.her2st import shards
from pathjax.datasets.her2st.expression import expression_table
from pathjax.datasets.her2st.image import (
    background_colour,
    blanked,
    block_px,
    read_image,
)
from pathjax.datasets.her2st.layout import SectionError, SectionFiles, find_sections
from pathjax.datasets.her2st.section import Section, read_section
from pathjax.datasets.her2st.tiles import cut_tile

SITE = "her2st"
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


def chosen_sections(
    source: str | Path, sections: tuple[str, ...] | None
) -> list[SectionFiles]:
    """The files of the sections asked for, or of all.

    Raises:
      StudyError: a section asked for does not exist.
    """
    found = find_sections(source)
    if sections is None:
        return list(found.values())
    unknown = [name for name in sections if name not in found]
    if unknown or not sections:
        raise StudyError(
            f"{source} has no section {', '.join(unknown) or 'asked for'}; it has "
            f"{', '.join(found)}"
        )
    return [found[name] for name in dict.fromkeys(sections)]


def build_her2st(
    source: str | Path,
    out: str | Path,
    *,
    tile_um: float = 112.0,
    tile_px: int = 224,
    sections: tuple[str, ...] | None = None,
    quality: int = 90,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Builds the her2st study, or what of it is missing in `out`.

    Args:
      source: the unpacked data (see layout.py).
      out: the study's directory.
      tile_um: side of a tile in micrometres; a spot is 100 wide.
      tile_px: side of a stored tile in pixels.
      sections: which; None for all there are.
      quality: of the JPEG tiles.
      progress: called with (spots done, spots in all).

    Returns:
      The study. Samples have, beside targets, `array_x`, `array_y` (array position),
      `pixel_x`, `pixel_y` (image pixels), `source_mpp` (of the image), `enlargement`
      (tile pixels per image pixel) and `upsampled` (enlargement above 1.5). Tiles have
      `filled`, the share of their area that lies outside the picture.

    Raises:
      StudyError: nothing can be built, or `out` was begun with other parameters.
    """
    if not (tile_um > 0 and tile_px > 0):
        raise StudyError(f"tile_um {tile_um} and tile_px {tile_px}: wanted above 0")
    read, skipped = [], []
    for files in chosen_sections(source, sections):
        try:
            read.append(read_section(files))
        except SectionError as error:
            skipped.append((files.section, str(error)))
    if not read:
        raise StudyError(f"no section of {source} can be used:\n" + _listing(skipped))

    mpp = tile_um / tile_px
    provenance = {**PROVENANCE, "sections": {}}
    writer = StudyWriter(
        out,
        name="her2st",
        tile_px=tile_px,
        mpp=mpp,
        gene_id_type="symbol",
        synthetic=False,
        provenance=provenance,
        build={"tile_um": tile_um, "tile_px": tile_px, "jpeg_quality": quality},
    )
    total = sum(len(section.counts.indptr) - 1 for section in read)
    done = 0
    used = []
    for section in read:
        name = section.slide.section
        try:
            made = _shard(writer, section, tile_um, tile_px, quality)
        except SectionError as error:
            skipped.append((name, str(error)))
        else:
            # The writer writes provenance last, in finish().
            provenance["sections"][name] = section.slide.facts() | made
            used.append(section)
        done += len(section.sample_ids)
        if progress:
            progress(done, total)
    if not used:
        raise StudyError(f"no section of {source} can be used:\n" + _listing(skipped))

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


def _listing(skipped: list[tuple[str, str]]) -> str:
    return "\n".join(f"  - {what}: {reason}" for what, reason in skipped)


def _shard(
    writer: StudyWriter, section: Section, tile_um: float, tile_px: int, quality: int
) -> dict[str, object]:
    """Writes a section's tiles, unless they are there; returns what to say of them."""
    slide = section.slide
    made = shards.kept(writer, slide.section, slide.sources)
    if made is not None:
        return made
    image = read_image(slide.path)
    background = background_colour(image, block_px(slide.mpp))
    blank = blanked(image) if slide.viewer else None
    side = tile_um / slide.mpp
    filled = []
    with writer.shard(slide.section) as shard:
        for sample_id, spot in zip(
            section.sample_ids, slide.spots.itertuples(), strict=True
        ):
            tile, share = cut_tile(
                image, (spot.pixel_x, spot.pixel_y), side, tile_px, background, blank
            )
            filled.append(share)
            shard.add(
                encode_jpeg(tile, quality),
                tile_id=sample_id,
                sample_id=sample_id,
                patient_id=slide.patient,
                site=SITE,
                x=round(spot.pixel_x - side / 2),
                y=round(spot.pixel_y - side / 2),
                mpp=tile_um / tile_px,
                filled=share,
            )
    made = {
        "background_rgb": background.tolist(),
        "tiles": len(filled),
        "tiles_with_filled_edges": int(np.count_nonzero(filled)),
        "source_px_per_tile": round(side, 1),
        "upsampled": tile_px / side > UPSAMPLED_FROM,
    }
    shards.keep(writer, slide.section, slide.sources, made)
    return made


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
    """The targets that at least one sample has."""
    described = {
        "cluster": "upstream's expression cluster; numbers are per patient, so is the "
        "name: C:3 has nothing to do with B:3",
        "pathologist": "tissue type by a pathologist; undetermined is missing",
    }
    targets = [
        Target(
            name,
            "sample",
            "class",
            tuple(sorted(samples[name].dropna().unique())),
            text,
        )
        for name, text in described.items()
        if samples[name].notna().any()
    ]
    text = "counts of the spot over all genes"
    return [*targets, Target("total_counts", "sample", "number", (), text)]


def splits_for(sections: list[Section]) -> tuple[list[Split], list[tuple[str, str]]]:
    """The splits whose every section is there, and why others are not."""
    slides = {section.slide.section for section in sections}
    patients = sorted({section.slide.patient for section in sections})
    splits, missing = [], []
    if {"B", "C"} <= set(patients):
        folds = {"train": ("C",), "test": ("B",)}
        other = tuple(one for one in patients if one not in ("B", "C"))
        if other:
            folds["other"] = other
        splits.append(Split("patients", folds, note="train on C, test on B"))
    else:
        reason = f"needs patients B and C, the study has {', '.join(patients)}"
        missing.append(("split patients", reason))
    for split in C_SECTIONS:
        lacking = sorted(
            {one for fold in split.folds.values() for one in fold} - slides
        )
        if lacking:
            reason = f"needs sections that are not there: {', '.join(lacking)}"
            missing.append((f"split {split.name}", reason))
        else:
            splits.append(split)
    return splits, missing
