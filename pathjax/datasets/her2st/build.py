"""Builds the paired study: as `pathjax data spatial` does, with splits by section."""

from pathlib import Path

import pandas as pd

from pathjax.data.study import Split, Study
from pathjax.datasets.dataset import Progress
from pathjax.datasets.her2st.section import read_section
from pathjax.datasets.her2st.source import choose_sections
from pathjax.datasets.spatial.build import write_study
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import Note

PROVENANCE = {
    "source": "her2st: Andersson et al. 2021, doi:10.1038/s41467-021-26271-2; "
    "github.com/almaan/her2st, Zenodo record 3957257",
    "licence": "the archive's own (Zenodo record 3957257); not checked by pathjax",
}
TARGETS = {
    "cluster": "upstream's expression cluster; numbers are per patient, so is the name: "
    "C:3 has nothing to do with B:3",
    "pathologist": "tissue type by a pathologist; undetermined is missing",
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
    progress: Progress = lambda done, total: None,
) -> Study:
    """Builds the her2st study, or completes the one in `out`; see `build_spatial`.

    Args:
      source: The unpacked data (see source.py).
      out: The study's directory.
      tile_um, tile_px: Side of a tile in micrometres (a spot is 100 wide) and pixels.
      sections: Which sections; None for all.
      progress: Called with (sections done, number of sections).

    Raises:
      StudyError: Nothing can be built, or `out` was begun with other parameters.
    """
    chosen = {files.section: files for files in choose_sections(source, sections)}
    return write_study(
        [SampleRow(Path(source), name) for name in chosen],
        lambda row: read_section(chosen[str(row.name)]),
        out,
        SpatialOptions(tile_um=tile_um, tile_px=tile_px, name="her2st"),
        splits=splits_for,
        descriptions=TARGETS,
        provenance=PROVENANCE,
        progress=progress,
    )


def splits_for(samples: pd.DataFrame) -> tuple[list[Split], list[Note]]:
    """Splits whose sections are all present, and the reasons for leaving out others."""
    patients = sorted(samples["patient_id"].unique())
    splits: list[Split] = []
    missing: list[Note] = []
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
        named = {name for fold in split.folds.values() for name in fold}
        lacking = sorted(named - set(samples["slide_id"]))
        if lacking:
            reason = f"needs missing sections: {', '.join(lacking)}"
            missing.append((f"split {split.name}", reason))
        else:
            splits.append(split)
    return splits, missing
