"""Joins a section's image, counts, positions and labels; everything left out is noted.

A spot is a row of the counts that has a position. Labels are optional.
"""

import dataclasses
import re
from collections.abc import Container
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.ndimage
import scipy.sparse
from jaxtyping import Bool, UInt8

from pathjax.data.study import StudyError
from pathjax.datasets.her2st import geometry, source
from pathjax.datasets.her2st.source import SectionFiles, spot_name
from pathjax.datasets.spatial import tenx
from pathjax.datasets.spatial.genes import SEEN_ONLY
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.sample import Note, SpatialError, SpatialSample
from pathjax.datasets.spatial.survey import BLACK, survey

SPOT_UM = 100.0
SITE = "her2st"
# Labels that mean missing; R writes NA.
UNKNOWN_LABELS = ("undetermined", "", "na", "nan")
RENAMED = re.compile(r"(.+)\.\d+")
RIM = 3  # pixels that the blanking bleeds into what is left of a viewer's picture
SQUARE = np.ones((3, 3), bool)


@dataclasses.dataclass(frozen=True)
class Slide:
    """A section's image, and where its spots are.

    Attributes:
      image: Opened; the surroundings that the viewer's copy has in black are filled.
      mpp: Micrometres per image pixel, by the pitch of the spots.
      spots: Positions by (x, y): columns pixel_x, pixel_y in image pixels.
      notes: Spots left out.
    """

    image: ImageSource
    mpp: float
    spots: pd.DataFrame
    notes: list[Note]


def read_slide(files: SectionFiles, *, viewer: bool = True) -> Slide:
    """The image and scale of a section; `viewer` allows the viewer's reduced copy.

    Raises:
      StudyError: No image or positions, or no plausible scale.
    """
    spots_path = files.table("spots")
    path, reduced = files.image(viewer=viewer)
    spots, notes = source.read_spots(spots_path)
    pixel_xy = spots[["pixel_x", "pixel_y"]].to_numpy(np.float64)
    array_xy = np.array(spots.index.tolist(), np.float64)
    try:
        mpp, off = geometry.fit_pitch(array_xy, pixel_xy)
        frame = geometry.frame_size(spots)
    except SpatialError as error:
        raise SpatialError(f"{spots_path}: {error}") from error
    image = ImageSource.open(path)
    try:
        scale = geometry.image_scale(image.size, frame)
    except SpatialError as error:
        raise SpatialError(f"{path}: {error}") from error
    mpp = float(mpp / np.sqrt(scale[0] * scale[1]))
    pixel_xy = pixel_xy * scale
    outside = ((pixel_xy < 0) | (pixel_xy > image.size)).any(axis=1)
    for spot, far, lost in zip(spots.index, off, outside, strict=True):
        if far:
            reason = f"{spots_path.name} puts it more than {geometry.MAX_OFF} pitches "
            notes.append((spot_name(spot), reason + "from its array position"))
        elif lost:
            reason = f"{spots_path.name} puts it outside {path.name}"
            notes.append((spot_name(spot), reason))
    placed = pd.DataFrame(pixel_xy, index=spots.index, columns=["pixel_x", "pixel_y"])
    image = _filled(image, mpp) if reduced else image
    return Slide(image, mpp, placed[~(off | outside)], notes)


def _filled(image: ImageSource, mpp: float) -> ImageSource:
    """The viewer's reduced copy, with the surroundings it blanked to black filled."""
    pixels = image.read(0, 0, *image.size).copy()
    pixels[blanked(pixels)] = survey(image, mpp).background
    name = image.path.name if image.path else ""
    return ImageSource.of_array(pixels, f"reduced copy {name} of the viewer")


def blanked(image: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """True where an image was blanked to black, as the viewer's copies are.

    Only areas wider than 5 pixels count, so that specks do not. The rim counts too:
    there, reducing the image mixed black into the picture.
    """
    core = scipy.ndimage.binary_erosion(
        image.max(axis=-1) <= BLACK, SQUARE, iterations=2, border_value=1
    )
    return scipy.ndimage.binary_dilation(core, SQUARE, iterations=2 + RIM)


def read_section(files: SectionFiles) -> SpatialSample:
    """A section; labels are its columns cluster and pathologist, None where missing.

    Raises:
      StudyError: A required file is missing or unusable.
    """
    counts_path = files.table("counts")
    slide = read_slide(files)
    counts = source.read_counts(counts_path)
    notes = list(slide.notes)
    named = {what for what, _ in notes}
    rows = []
    for row, spot in enumerate(counts.spots):
        if spot in slide.spots.index:
            rows.append(row)
        elif spot_name(spot) not in named:
            reason = f"in {counts_path.name}, but it has no position"
            notes.append((spot_name(spot), reason))
    known = set(counts.spots)
    for spot in slide.spots.index:
        if spot not in known and spot_name(spot) not in named:
            reason = f"has a position, but no {counts_path.name}"
            notes.append((spot_name(spot), reason))
    if not rows:
        raise SpatialError(
            f"{counts_path} and the positions have no spot in common"
            + (f"; first of {len(notes)} problems: {notes[0][1]}" if notes else "")
        )
    kept = [counts.spots[row] for row in rows]
    cluster, cluster_notes = _labels(files.cluster, kept, known)
    pathologist, label_notes = _labels(files.pathologist, kept, known)
    labels = {
        # Cluster numbers were given per patient: C's 3 has nothing to do with B's.
        "cluster": [label and f"{files.patient}:{label}" for label in cluster],
        "pathologist": pathologist,
    }
    table = counts_of(counts.matrix[rows], counts.genes, kept)
    table.obs = table.obs.assign(**{k: np.array(v, object) for k, v in labels.items()})
    return SpatialSample(
        name=files.section,
        counts=table,
        positions=slide.spots.loc[kept].to_numpy(np.float64),
        image=slide.image,
        mpp={"spot pitch": slide.mpp},
        spot_um=SPOT_UM,
        technology="ST",
        organism="human",
        patient=files.patient,
        site=SITE,
        left_out=(*notes, *cluster_notes, *label_notes),
    )


def counts_of(
    matrix: scipy.sparse.csr_matrix,
    genes: list[str],
    spots: list[source.Spot],
    names: list[str] | None = None,
) -> anndata.AnnData:
    """Counts `[spots, genes]` as a sample has them; spots have upstream's names.

    A file lists only genes that were seen in it: others had no counts there.
    """
    listed = set(genes)
    obs = {"array_row": [y for _, y in spots], "array_col": [x for x, _ in spots]}
    return anndata.AnnData(
        X=matrix,
        obs=pd.DataFrame(obs, index=names or [spot_name(spot) for spot in spots]),
        var=tenx.gene_table(genes, [base_symbol(gene, listed) for gene in genes]),
        uns={SEEN_ONLY: True},
    )


def base_symbol(gene: str, listed: Container[str]) -> str:
    """The symbol that R renamed where it was repeated: MATR3.1 is MATR3.

    Only if the plain symbol exists too: in AC243756.1 the number is a version.
    """
    match = RENAMED.fullmatch(gene)
    return match[1] if match and match[1] in listed else gene


def normalised(label: str) -> str | None:
    """A label in lower case with single spaces; None if it means missing."""
    text = " ".join(label.replace("_", " ").lower().split())
    return None if text in UNKNOWN_LABELS else text


def _labels(
    path: Path | None, kept: list[source.Spot], known: set[source.Spot]
) -> tuple[list[str | None], list[Note]]:
    """Labels of the spots kept, and notes on labels of unknown spots."""
    if path is None:
        return [None] * len(kept), []
    try:
        labels, notes = source.read_labels(path)
    except StudyError as error:  # a section without labels is still a section
        return [None] * len(kept), [(path.name, str(error))]
    reason = f"{path.name} has a label for it, but there are no counts"
    notes += [(spot_name(spot), reason) for spot in labels if spot not in known]
    return [normalised(labels.get(spot, "")) for spot in kept], notes
