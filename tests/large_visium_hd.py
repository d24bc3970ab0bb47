"""An output of Space Ranger for Visium HD, as large as wanted, for `bench spatial`.

python tests/large_visium_hd.py FOLDER 224    # 224 x 224 bins of 16 um
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.ndimage
import scipy.sparse
import tifffile
from PIL import Image

from pathjax.bench.spatial import BIN_UM, MPP, QUALITY

GENES, COUNTS = 2000, 60  # genes, and counts per bin
BLOCK = 256  # side of the TIFF's tiles
BORDER_UM = 100.0  # of glass around the bins
GLASS, STAIN = np.array([235, 225, 232]), np.array([60, 130, 50])


def write_sample(root: Path, side: int, seed: int = 0) -> None:
    """An output of Space Ranger with `side` by `side` bins, slide.tif beside it."""
    binned = root / "binned_outputs" / f"square_{BIN_UM:03d}um"
    (binned / "spatial").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    width = math.ceil((side * BIN_UM + 2 * BORDER_UM) / MPP / BLOCK) * BLOCK
    field = smooth(rng, width // BLOCK)
    write_slide(root / "slide.tif", width, field, rng)
    row, column = np.divmod(np.arange(side * side), side)
    step, border = BIN_UM / MPP, BORDER_UM / MPP
    table = pd.DataFrame(
        {
            "barcode": [
                f"s_{BIN_UM:03d}um_{i:05d}_{j:05d}-1"
                for i, j in zip(row.tolist(), column.tolist(), strict=True)
            ],
            "in_tissue": np.ones(len(row), np.int32),
            "array_row": row.astype(np.int32),
            "array_col": column.astype(np.int32),
            "pxl_row_in_fullres": border + (side - row - 0.5) * step,
            "pxl_col_in_fullres": border + (column + 0.5) * step,
        }
    )
    table.to_parquet(binned / "spatial" / "tissue_positions.parquet", index=False)
    at = (table[["pxl_row_in_fullres", "pxl_col_in_fullres"]] // BLOCK).to_numpy(int)
    totals = rng.poisson(COUNTS * (0.2 + field[at[:, 0], at[:, 1]])) + 1
    genes = np.sort(rng.integers(0, GENES, totals.sum()))
    bins = rng.permutation(np.repeat(np.arange(len(row)), totals))
    matrix = scipy.sparse.coo_matrix(
        (np.ones(len(bins), np.int32), (bins, genes)), (len(row), GENES)
    ).tocsr()
    with h5py.File(binned / "filtered_feature_bc_matrix.h5", "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = table["barcode"].to_numpy().astype("S")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(matrix.shape[::-1])
        features = group.create_group("features")
        names = [f"ENSG{i:011d}" for i in range(GENES)]
        features["id"] = np.array(names, "S")
        features["name"] = np.array([f"GENE{i}" for i in range(GENES)], "S")
        features["feature_type"] = np.array(["Gene Expression"] * GENES, "S")
        features["genome"] = np.array(["GRCh38"] * GENES, "S")
    reduced = 600 / width
    factors = {
        "bin_size_um": float(BIN_UM),
        "microns_per_pixel": MPP,
        "spot_diameter_fullres": step,
        "tissue_hires_scalef": reduced,
        "tissue_lowres_scalef": reduced,
    }
    for folder in (binned / "spatial", root / "spatial"):
        folder.mkdir(exist_ok=True)
        (folder / "scalefactors_json.json").write_text(json.dumps(factors))
        for kind in ("hires", "lowres"):
            white = Image.new("RGB", (600, 600), "white")
            white.save(folder / f"tissue_{kind}_image.png")
    # Where spatialdata-io looks for the format's version.
    with h5py.File(root / "feature_slice.h5", "w") as file:
        file.attrs["metadata_json"] = json.dumps(
            {"hd_layout_json": json.dumps({"file_format": "1.0"})}
        )


def smooth(rng: np.random.Generator, side: int) -> np.ndarray:
    field = scipy.ndimage.gaussian_filter(rng.normal(size=(side, side)), 3)
    field = 0.3 + 0.7 * (field - field.min()) / np.ptp(field)
    return np.pad(field[1:-1, 1:-1], 1)  # glass around it


def write_slide(path: Path, width: int, field: np.ndarray, rng) -> None:
    """A tiled JPEG TIFF, darker where `field` (by block) is higher."""
    noise = scipy.ndimage.gaussian_filter(
        rng.normal(size=(4 * BLOCK, 4 * BLOCK, 3)), (4, 4, 0), mode="wrap"
    )
    noise *= 25 / noise.std()

    def blocks() -> Iterator[np.ndarray]:
        for row, column in np.ndindex(field.shape):
            top, left = row % 4 * BLOCK, column % 4 * BLOCK
            base = GLASS - field[row, column] * STAIN
            rough = noise[top : top + BLOCK, left : left + BLOCK]
            block = base + rough * field[row, column]
            yield np.clip(block, 0, 255).astype(np.uint8)

    tifffile.imwrite(
        path,
        blocks(),
        shape=(width, width, 3),
        dtype=np.uint8,
        tile=(BLOCK, BLOCK),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": QUALITY},
        resolution=(1e4 / MPP, 1e4 / MPP),
        resolutionunit="CENTIMETER",
        metadata=None,
    )


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]), int(sys.argv[2]))
