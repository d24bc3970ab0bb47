"""Visium HD: bins of 2, 8 or 16 um side by side, as Space Ranger 3 and 4 write it.

Bins of another size are pooled from those of 2 um while the file is read. Only bins
under tissue are read.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.datasets.spatial import space_ranger, tenx
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import Format, SpatialError, SpatialSample
from pathjax.datasets.spatial.scale import ArrayFit, fit_array

BIN = re.compile(r"square_(\d{3})um")
SMALLEST_UM = 2
DEFAULT_UM = 16
MATRICES = ("filtered_feature_bc_matrix.h5", "filtered_feature_bc_matrix")


class VisiumHD(Format):
    """Space Ranger's output, `binned_outputs` in it, or the folder of one bin size."""

    name = "Visium HD"
    needs = (
        "a folder with binned_outputs/square_016um (or 008, 002) that has "
        "filtered_feature_bc_matrix.h5 and spatial/ (tissue_positions.parquet, "
        "scalefactors_json.json)"
    )

    def recognises(self, path: Path) -> bool:
        return path.is_dir() and bool(_bins(path))

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        bins = _bins(path)
        only = next(iter(bins)) if len(bins) == 1 else DEFAULT_UM
        bin_um = only if options.bin_um is None else options.bin_um
        pooled = 1 if bin_um in bins else _pooled(path, bins, bin_um)
        source_um = bin_um / pooled
        source = bins[int(source_um)]
        output = _output(source)
        name = space_ranger.sample_name(output)
        folder = space_ranger.SpatialFolder.open(source)
        said = folder.factors.get("bin_size_um", source_um)
        if said != source_um:
            raise SpatialError(
                f"{folder.path}/scalefactors_json.json says bins of {said:g} um, the "
                f"folder {source.name}"
            )
        positions = folder.positions()
        placed = positions[np.isfinite(positions).all(axis=1)]
        fit = fit_array(
            name,
            placed[["array_row", "array_col"]].to_numpy(),
            placed[["x", "y"]].to_numpy(),
        )
        matrix = space_ranger.one_of(source, MATRICES)
        if pooled == 1:
            counts, left_out = space_ranger.match_barcodes(
                lambda rows: tenx.read_counts(matrix, rows), positions, source
            )
            placed = positions.loc[counts.obs_names]
        else:
            pool = Pool(positions, pooled, bin_um, fit, source)
            counts, left_out = space_ranger.match_barcodes(
                lambda rows: tenx.read_counts(matrix, rows, pool), positions, source
            )
            placed = pool.table.loc[counts.obs_names]
        image, factor = folder.open_image(options.image, output)
        counts.obs = placed[["array_row", "array_col"]].astype(int)
        mpp = {}
        if said_mpp := folder.factors.get("microns_per_pixel"):
            mpp["scale factors"] = said_mpp
        if diameter := folder.factors.get("spot_diameter_fullres"):
            mpp["bin size"] = source_um / diameter
        if fit:
            mpp["bin pitch"] = fit.mpp(source_um)
        return SpatialSample(
            name=name,
            counts=counts,
            positions=placed[["x", "y"]].to_numpy(np.float64) * factor,
            image=image,
            mpp={key: value / factor for key, value in mpp.items()},
            spot_um=float(bin_um),
            technology="Visium HD",
            left_out=tuple(left_out),
        )


class Pool:
    """Groups small bins into squares of `times` by `times`; see `tenx.read_counts`.

    Attributes:
      table: Squares by name: array_row, array_col, and x, y of the whole square, of
        which a part may have no bin under tissue.
    """

    def __init__(
        self,
        positions: pd.DataFrame,
        times: int,
        bin_um: float,
        fit: ArrayFit | None,
        where: Path,
    ):
        if fit is None:
            raise SpatialError(f"{where}: too few bins under tissue to be pooled")
        self._positions, self._times, self._fit = positions, times, fit
        self._bin_um = bin_um
        self.table = pd.DataFrame()

    def __call__(self, barcodes: np.ndarray) -> tuple[np.ndarray, list[str]]:
        rows = self._positions.index.get_indexer(barcodes.astype(str))
        array = self._positions[["array_row", "array_col"]].to_numpy(np.int64)[rows]
        width = int(array[:, 1].max()) // self._times + 1
        squares = array // self._times
        keys, groups = np.unique(squares @ [width, 1], return_inverse=True)
        square = np.stack(np.divmod(keys, width), axis=1)
        names = [
            f"s_{self._bin_um:03.0f}um_{row:05d}_{column:05d}"
            for row, column in square.tolist()
        ]
        # The middle of a square of 8 bins is 3.5 bins from the middle of its first one.
        centres = self._fit.at(square * self._times + (self._times - 1) / 2)
        self.table = pd.DataFrame(
            {
                "array_row": square[:, 0],
                "array_col": square[:, 1],
                "x": centres[:, 0],
                "y": centres[:, 1],
            },
            index=pd.Index(names, dtype=object),
        )
        return groups.ravel(), names


def _bins(path: Path) -> dict[int, Path]:
    """Folders of bins by their size in micrometres."""
    if match := BIN.fullmatch(path.name):
        return {int(match[1]): path}
    output = space_ranger.output_folder(path)
    parent = output / "binned_outputs"
    folders = (parent if parent.is_dir() else output).glob("square_*um")
    return {int(BIN.fullmatch(f.name)[1]): f for f in folders if BIN.fullmatch(f.name)}


def _output(source: Path) -> Path:
    """Space Ranger's output around the folder of one bin size."""
    parent = source.resolve().parent
    return parent.parent if parent.name == "binned_outputs" else parent


def _pooled(path: Path, bins: dict[int, Path], bin_um: float) -> int:
    """How many of the smallest bins make one side of a bin of `bin_um`."""
    has = ", ".join(f"{size} um" for size in sorted(bins))
    if SMALLEST_UM not in bins:
        raise SpatialError(
            f"{path} has bins of {has}, not of {bin_um:g} um: choose one by --bin-um, "
            "or add square_002um, from which any even size is pooled"
        )
    if bin_um < SMALLEST_UM or bin_um % SMALLEST_UM:
        raise SpatialError(
            f"--bin-um {bin_um:g}: expected {has}, or a multiple of {SMALLEST_UM}"
        )
    return int(bin_um // SMALLEST_UM)
