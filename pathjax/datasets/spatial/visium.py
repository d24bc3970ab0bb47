"""Visium v1, v2 and CytAssist, as Space Ranger 1 to 4 writes it.

Spots lie on a hexagonal array: 100 um to the next one in a row, rows of alternating
columns (array_col counts half steps).
"""

from pathlib import Path

import numpy as np

from pathjax.datasets.spatial import space_ranger, tenx
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import Format, SpatialError, SpatialSample
from pathjax.datasets.spatial.scale import fit_array

SPOT_UM = 55.0
PITCH_UM = 100.0
# Not the spots' diameter, which Space Ranger takes as 65 um on some slides and 70 on
# others (pitch and fiducials agree on both).
FIDUCIAL_UM = 105.0
MIRRORED = ", or the image was mirrored after Space Ranger was run"
MATRICES = (
    "filtered_feature_bc_matrix.h5",
    "filtered_feature_bc_matrix",
    "raw_feature_bc_matrix.h5",
    "raw_feature_bc_matrix",
)
PROBES = "raw_probe_bc_matrix.h5"


class Visium(Format):
    """Space Ranger's output folder, or the folder around it."""

    name = "Visium"
    needs = (
        "a folder with filtered_feature_bc_matrix.h5 (or folder) and spatial/ "
        "(tissue_positions, scalefactors_json.json)"
    )

    def recognises(self, path: Path) -> bool:
        if not path.is_dir():
            return False
        output = space_ranger.output_folder(path)
        names = (*MATRICES, PROBES, "spatial", *space_ranger.POSITION_FILES)
        return any((output / name).exists() for name in names)

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        output = space_ranger.output_folder(path)
        matrix = _matrix(output)
        folder = space_ranger.SpatialFolder.open(output)
        positions = folder.positions()
        counts, left_out = space_ranger.match_barcodes(
            lambda rows: tenx.read_counts(matrix, rows), positions, output
        )
        image, factor = folder.open_image(options.image, output)
        placed = positions.loc[counts.obs_names]
        array = placed[["array_row", "array_col"]].astype(int)
        counts.obs = array
        xy = placed[["x", "y"]].to_numpy(np.float64)
        name = space_ranger.sample_name(path)
        mpp, notes = {}, []
        if fit := fit_array(name, array.to_numpy(), xy):
            mpp["spot pitch"] = fit.mpp(PITCH_UM / 2)
            notes = fit.warnings(PITCH_UM / 2, PITCH_UM * 3**0.5 / 2, MIRRORED)
        mpp |= folder.fiducial_mpp(FIDUCIAL_UM)
        return SpatialSample(
            name=name,
            counts=counts,
            positions=xy * factor,
            image=image,
            mpp={source: value / factor for source, value in mpp.items()},
            spot_um=SPOT_UM,
            technology="Visium",
            left_out=tuple(left_out),
            notes=tuple(notes),
        )


def _matrix(output: Path) -> Path:
    there = [name for name in MATRICES if (output / name).exists()]
    if not there and (output / PROBES).exists():
        raise SpatialError(
            f"{output} has only {PROBES}, which counts probes, not genes: add "
            f"{MATRICES[0]}"
        )
    return space_ranger.one_of(output, MATRICES)
