"""Xenium, as Xenium Ranger and the instrument write it, with a registered H&E image.

Transcripts are pooled into squares of a grid, or cells are samples. Positions are in
micrometres there; the alignment matrix of the H&E image brings them into its pixels.
"""

import collections
import dataclasses
import math
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse
from jaxtyping import Float

from pathjax.datasets.spatial import tenx
from pathjax.datasets.spatial.alignment import find_alignment
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import Format, SpatialError, SpatialSample
from pathjax.datasets.spatial.space_ranger import (
    images_in,
    listed,
    one_of,
    only,
    output_folder,
    sample_name,
    table_batches,
)
from pathjax.files import read_json, reading

SPECS = "experiment.xenium"
MATRICES = ("cell_feature_matrix.h5", "cell_feature_matrix")
CELLS = ("cells.parquet", "cells.csv.gz", "cells.csv")
TRANSCRIPTS = ("transcripts.parquet", "transcripts.csv.gz")
MIN_QV = 20.0  # Phred-scaled; below it, the instrument's own matrix counts nothing
SPOT_UM = 100.0
CELL_UM = 10.0
CELL_COLUMNS = {
    "cell_id": pa.string(),
    "x_centroid": pa.float64(),
    "y_centroid": pa.float64(),
}
TRANSCRIPT_COLUMNS = {
    "feature_name": pa.string(),
    "x_location": pa.float64(),
    "y_location": pa.float64(),
    "qv": pa.float64(),
}
HE_NAMES = ("he_image", "h&e", "_he.", "he_aligned", "hne")


class Xenium(Format):
    """Xenium Ranger's output folder, or the folder around it."""

    name = "Xenium"
    needs = (
        f"a folder with {SPECS}, {MATRICES[0]} (or folder), {CELLS[0]}, "
        f"{TRANSCRIPTS[0]} and an H&E image with its alignment matrix"
    )

    def recognises(self, path: Path) -> bool:
        output = output_folder(path)
        names = (SPECS, *MATRICES, *CELLS, *TRANSCRIPTS)
        return path.is_dir() and sum((output / name).exists() for name in names) >= 2

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        output = output_folder(path)
        pixel_um = pixel_size(output)
        matrix = one_of(output, MATRICES)
        counts, left_out = tenx.read_counts(matrix)
        left_out = list(left_out)
        image_path = Path(options.image or find_image(output))
        image = ImageSource.open(image_path)
        alignment = find_alignment(image_path, output)
        cells, um = read_cells(one_of(output, CELLS), counts.obs_names)
        finite = np.isfinite(um).all(axis=1)
        lacking = (cells < 0).sum() + (~finite).sum()
        if lacking:
            left_out.append((f"{lacking} cells", "no position in the table of cells"))
        place = np.flatnonzero(cells >= 0)[finite]
        counts, um = counts[place], um[finite]
        if not len(um):
            raise SpatialError(f"{output}: no cell of the matrix has a position")
        side = SPOT_UM if options.spot_um is None else options.spot_um
        if side:
            counts, um, more = _pooled(output, counts, um, side)
            left_out += more
        xenium_px = um / pixel_um
        positions, scale, notes = alignment.to_image(xenium_px, image, pixel_um)
        return SpatialSample(
            name=sample_name(path),
            counts=counts.copy(),
            positions=positions,
            image=image,
            mpp={"alignment matrix": pixel_um * scale},
            spot_um=side or CELL_UM,
            technology="Xenium",
            left_out=tuple(left_out),
            notes=notes,
        )


def pixel_size(output: Path) -> float:
    """Micrometres per pixel of Xenium's own images, which alignment refers to.

    Raises:
      SpatialError: The file is missing or damaged, or lacks it.
    """
    path = output / SPECS
    if not path.is_file():
        raise SpatialError(f"{output} lacks {SPECS}: {listed(output)}")
    with reading(path, SpatialError, "a file with pixel_size"):
        value = float(read_json(path, dict)["pixel_size"])
    if not (math.isfinite(value) and value > 0):
        raise SpatialError(f"{path}: expected pixel_size above 0, got {value}")
    return value


def find_image(output: Path) -> Path:
    """The H&E image in or beside the output.

    Raises:
      SpatialError: There is none, or several.
    """
    folders = [output, *([output.parent] if output.name == "outs" else [])]
    found = [
        path
        for folder in folders
        for path in images_in(folder)
        if any(name in path.name.lower() for name in HE_NAMES)
    ]
    advice = (
        ": name it by --image or in the manifest's column image. Xenium's morphology "
        "images are fluorescence"
    )
    return only(found, "H&E image (named *_he_image.ome.tif)", output, advice)


def read_cells(
    path: Path, barcodes: pd.Index
) -> tuple[np.ndarray, Float[np.ndarray, "n 2"]]:
    """Where the cells are.

    Returns:
      For each barcode its row in the table (-1: absent), and x and y in micrometres of
      those present.

    Raises:
      SpatialError: The table is damaged, lacks a column, or names a cell twice.
    """
    with reading(path, SpatialError):
        table = pd.concat(table_batches(path, CELL_COLUMNS))
    ids = pd.Index([_text(value) for value in table["cell_id"]])
    if ids.has_duplicates:
        raise SpatialError(f"{path} has the cell {ids[ids.duplicated()][0]} twice")
    place = ids.get_indexer(barcodes)
    um = table[["x_centroid", "y_centroid"]].to_numpy(np.float64)
    return place, um[place[place >= 0]]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@dataclasses.dataclass(frozen=True)
class Grid:
    """Squares of `side` micrometres; a square's number is row * width + column."""

    side: float
    low: np.ndarray
    width: int

    @classmethod
    def around(cls, um: Float[np.ndarray, "n 2"], side: float) -> "Grid":
        """A grid that holds the points, from whole multiples of its side on."""
        low, high = np.floor(um.min(axis=0) / side), np.floor(um.max(axis=0) / side)
        return cls(side, low.astype(int), int(high[0] - low[0]) + 1)

    def number(self, um: Float[np.ndarray, "n 2"], height: int) -> np.ndarray:
        """The square of each point; -1 outside."""
        at = np.floor(um / self.side).astype(np.int64) - self.low
        inside = (at >= 0).all(axis=1) & (at[:, 0] < self.width) & (at[:, 1] < height)
        return np.where(inside, at[:, 1] * self.width + at[:, 0], -1)


def _pooled(
    output: Path, cells: anndata.AnnData, um: Float[np.ndarray, "n 2"], side: float
) -> tuple[anndata.AnnData, Float[np.ndarray, "m 2"], list[tuple[str, str]]]:
    """Counts of the squares that hold cells: of transcripts, or else of the cells."""
    if side < 0:
        raise SpatialError(f"expected --spot-um of 0 or more, got {side:g}")
    grid = Grid.around(um, side)
    height = int(np.floor(um[:, 1].max() / side)) - int(grid.low[1]) + 1
    squares, code = np.unique(grid.number(um, height), return_inverse=True)
    n_cells = np.bincount(code)
    left_out: list[tuple[str, str]] = []
    file = next((output / n for n in TRANSCRIPTS if (output / n).is_file()), None)
    if file is None:
        left_out.append(("transcripts outside cells", f"{TRANSCRIPTS[0]} is not there"))
        counts = scipy.sparse.csr_matrix(tenx.into(code, len(squares)) @ cells.X)
    else:
        counts, left_out = _count_transcripts(file, cells.var, grid, height, squares)
    row, column = np.divmod(squares, grid.width)
    row, column = row + grid.low[1], column + grid.low[0]
    pooled = anndata.AnnData(
        X=counts,
        obs=pd.DataFrame(
            {"array_row": row, "array_col": column, "cells": n_cells},
            index=[f"{x:03d}x{y:03d}" for x, y in zip(column, row, strict=True)],
        ),
        var=cells.var,
    )
    return pooled, (np.column_stack([column, row]) + 0.5) * side, left_out


def _count_transcripts(
    file: Path, var: pd.DataFrame, grid: Grid, height: int, squares: np.ndarray
) -> tuple[scipy.sparse.csr_matrix, list[tuple[str, str]]]:
    """Counts `[squares, genes]` of the transcripts of good quality, read in batches."""
    names = var["symbol"].where(var["symbol"] != "", var.index.to_series())
    genes = pd.Index(names)
    if genes.has_duplicates:
        twice = genes[genes.duplicated()][0]
        raise SpatialError(f"{file}: gene {twice} is in the matrix twice")
    total = scipy.sparse.csr_matrix((len(squares), len(genes)), dtype=np.float32)
    dropped: collections.Counter[str] = collections.Counter()
    for batch in table_batches(file, TRANSCRIPT_COLUMNS):
        good = batch["qv"].to_numpy() >= MIN_QV
        dropped[f"quality below {MIN_QV:g} (qv)"] += int((~good).sum())
        batch = batch[good]
        features = batch["feature_name"].map(_text)
        gene = genes.get_indexer(features)
        for kind, number in _control_kinds(features[gene < 0]).items():
            dropped[kind] += number
        at = grid.number(batch[["x_location", "y_location"]].to_numpy(float), height)
        place = np.minimum(np.searchsorted(squares, at), len(squares) - 1)
        inside = squares[place] == at
        dropped["in squares without a cell"] += int((~inside & (gene >= 0)).sum())
        keep = inside & (gene >= 0)
        ones = np.ones(keep.sum(), np.float32)
        total += scipy.sparse.csr_matrix(
            (ones, (place[keep], gene[keep])), shape=total.shape
        )
    left_out = [
        (f"{number} transcripts", reason)
        for reason, number in sorted(dropped.items())
        if number
    ]
    return total, left_out


def _control_kinds(names: pd.Series) -> collections.Counter[str]:
    """Features that are no genes of the matrix, by the first part of their names."""
    kinds = names.str.extract(r"^([A-Za-z]+)", expand=False).fillna("other")
    return collections.Counter(f"no gene: {kind}" for kind in kinds)
