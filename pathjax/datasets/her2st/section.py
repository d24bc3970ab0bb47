"""Joins a section's counts, positions and labels by spot; everything left out is noted.

A spot is a row of the counts that has a position. Labels are optional. No image is
decoded here; only its header is read, for the scale.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.data.study import sha256
from pathjax.datasets.her2st import geometry, source
from pathjax.datasets.her2st.image import image_size
from pathjax.datasets.her2st.source import Note, SectionError, SectionFiles, spot_name

# Labels that mean missing; R writes NA.
UNKNOWN_LABELS = ("undetermined", "", "na", "nan")


@dataclasses.dataclass(frozen=True)
class Slide:
    """A section's image and its scale.

    Attributes:
      viewer: True for the viewer's reduced copy, blanked to black around the tissue.
      size: Width and height in image pixels.
      scale: Image pixels per pixel of the spots' frame, along x and y.
      mpp, pitch: Micrometres per image pixel, and the fit that gave it.
      spots: Positions by (x, y): columns pixel_x, pixel_y in image pixels.
      sources: SHA-256 by name of the files that the tiles depend on.
      notes: Spots left out.
    """

    section: str
    patient: str
    path: Path
    viewer: bool
    size: tuple[int, int]
    scale: tuple[float, float]
    mpp: float
    pitch: geometry.Pitch
    spots: pd.DataFrame
    sources: dict[str, str]
    notes: list[Note]

    def facts(self) -> dict[str, object]:
        """Image and scale for the study's provenance, ready for JSON."""
        return {
            "image": self.path.name,
            "image_px": list(self.size),
            "viewer_copy": self.viewer,
            "scale_of_spot_frame": [round(factor, 5) for factor in self.scale],
            "mpp": round(self.mpp, 5),
            "spots_in_fit": len(self.pitch.off),
            "step_px": [
                round(self.pitch.step_x * self.scale[0], 2),
                round(self.pitch.step_y * self.scale[1], 2),
            ],
            "rotation_degrees": round(self.pitch.rotation, 3),
            "rms_off_grid_um": round(self.pitch.rms * geometry.PITCH_UM, 1),
            "sha256": self.sources,
        }


@dataclasses.dataclass(frozen=True)
class Section:
    """A section's slide with the counts and labels of its spots, row by row.

    Attributes:
      slide: Its spots are those of `counts`, in that order.
      counts: `[spots, genes]` float32.
      cluster, pathologist: Labels per spot, None where missing.
      summed: Symbols that the counts had more than once.
      notes: What was left out.
    """

    slide: Slide
    genes: list[str]
    counts: scipy.sparse.csr_matrix
    cluster: list[str | None]
    pathologist: list[str | None]
    summed: dict[str, int]
    notes: list[Note]

    @property
    def sample_ids(self) -> list[str]:
        return [
            f"{self.slide.section}_{spot_name(spot)}" for spot in self.slide.spots.index
        ]


def read_slide(files: SectionFiles, *, viewer: bool = True) -> Slide:
    """The image and scale of a section; `viewer` allows the viewer's reduced copy.

    Raises:
      SectionError: no image or positions, or no plausible scale.
    """
    spots_path = files.table("spots")
    path, reduced = files.image(viewer=viewer)
    spots, notes = source.read_spots(spots_path)
    pixel_xy = spots[["pixel_x", "pixel_y"]].to_numpy(np.float64)
    array_xy = np.array(spots.index.tolist(), np.float64)
    try:
        pitch = geometry.fit_pitch(array_xy, pixel_xy)
        frame = geometry.frame_size(spots)
    except SectionError as error:
        raise SectionError(f"{spots_path}: {error}") from error
    size = image_size(path)
    try:
        scale = geometry.image_scale(size, frame)
    except SectionError as error:
        raise SectionError(f"{path}: {error}") from error
    pixel_xy = pixel_xy * scale
    outside = ((pixel_xy < 0) | (pixel_xy > size)).any(axis=1)
    for spot, far, lost in zip(spots.index, pitch.off, outside, strict=True):
        if far:
            reason = f"{spots_path.name} puts it more than {geometry.MAX_OFF} pitches "
            notes.append((spot_name(spot), reason + "from its array position"))
        elif lost:
            reason = f"{spots_path.name} puts it outside {path.name}"
            notes.append((spot_name(spot), reason))
    placed = pd.DataFrame(pixel_xy, index=spots.index, columns=["pixel_x", "pixel_y"])
    return Slide(
        section=files.section,
        patient=files.patient,
        path=path,
        viewer=reduced,
        size=size,
        scale=scale,
        mpp=float(pitch.mpp / np.sqrt(scale[0] * scale[1])),
        pitch=pitch,
        spots=placed[~(pitch.off | outside)],
        sources={file.name: sha256(file) for file in (spots_path, path)},
        notes=notes,
    )


def read_section(files: SectionFiles) -> Section:
    """Everything of a section but its pixels.

    Raises:
      SectionError: a required file is missing or unusable.
    """
    counts_path = files.table("counts")
    slide = read_slide(files)
    counts = source.read_counts(counts_path)
    notes = list(slide.notes)
    named = {what for what, _ in notes}
    total = np.asarray(counts.matrix.sum(axis=1)).ravel()
    rows = []
    for row, spot in enumerate(counts.spots):
        name = spot_name(spot)
        if spot not in slide.spots.index:
            if name not in named:
                notes.append((name, f"in {counts_path.name}, but it has no position"))
        elif total[row] == 0:
            notes.append((name, f"{counts_path.name} has no count for it"))
        else:
            rows.append(row)
    known = set(counts.spots)
    for spot in slide.spots.index:
        if spot not in known and spot_name(spot) not in named:
            notes.append(
                (spot_name(spot), f"has a position, but no {counts_path.name}")
            )
    if not rows:
        raise SectionError(
            f"{counts_path} and the positions have no spot in common"
            + (f"; first of {len(notes)} problems: {notes[0][1]}" if notes else "")
        )
    kept = [counts.spots[row] for row in rows]
    cluster, cluster_notes = _labels(files.cluster, kept, known)
    pathologist, label_notes = _labels(files.pathologist, kept, known)
    prefix = f"{files.section}_"
    return Section(
        slide=dataclasses.replace(
            slide,
            spots=slide.spots.loc[kept],
            sources={**slide.sources, counts_path.name: sha256(counts_path)},
        ),
        genes=counts.genes,
        counts=counts.matrix[rows],
        # Cluster numbers were given per patient: C's 3 has nothing to do with B's.
        cluster=[label and f"{files.patient}:{label}" for label in cluster],
        pathologist=pathologist,
        summed=counts.summed,
        notes=[
            (prefix + what, reason)
            for what, reason in [*notes, *cluster_notes, *label_notes]
        ],
    )


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
    except SectionError as error:  # a section without labels is still a section
        return [None] * len(kept), [(path.name, str(error))]
    for spot in labels:
        if spot not in known:
            notes.append(
                (
                    spot_name(spot),
                    f"{path.name} has a label for it, but there are no counts",
                )
            )
    return [normalised(labels.get(spot, "")) for spot in kept], notes
