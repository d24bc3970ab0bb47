"""Small Space Ranger outputs, with an image whose tissue the counts follow."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.ndimage
import scipy.sparse
from PIL import Image

MPP = 2.0
SIZE = (1150, 850)  # of the image: width and height
ROWS, COLUMNS = 16, 20  # of the array
ORIGIN = np.array([80.0, 90.0])  # x and y of the first spot
STEP = np.array([50.0, 50.0 * np.sqrt(3)]) / MPP  # pixels per array_col, array_row
HIRES = 0.5  # pixels of the reduced image per pixel
GENES = 30
HD_MPP = 0.5
HEADER = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"


def spots() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Barcodes, array positions (row, column) and pixels (x, y)."""
    array = np.array(
        [(row, 2 * col + row % 2) for row in range(ROWS) for col in range(COLUMNS)]
    )
    codes = [
        "".join("ACGT"[k >> 2 * j & 3] for j in range(8)) for k in range(len(array))
    ]
    return [f"{code}-1" for code in codes], array, ORIGIN + array[:, ::-1] * STEP


def density(seed: int = 0) -> np.ndarray:
    """How much tissue there is at each pixel, 0 to 1, without any symmetry."""
    noise = np.random.default_rng(seed).normal(size=(SIZE[1] // 10, SIZE[0] // 10))
    field = scipy.ndimage.gaussian_filter(noise, 8)
    field = np.clip((field - np.quantile(field, 0.2)) / np.ptp(field) * 1.6, 0, 1)
    return np.kron(field, np.ones((10, 10)))


def picture(field: np.ndarray, seed: int = 0) -> np.ndarray:
    """Pale glass, and tissue that is darker and rougher where there is more."""
    noise = np.random.default_rng(seed).normal(size=(*field.shape, 3))
    image = np.array([235, 228, 232]) - field[..., None] * np.array([70, 130, 50])
    return np.clip(image + noise * (1 + 25 * field[..., None]), 0, 255).astype(np.uint8)


def counts(field: np.ndarray, xy: np.ndarray, seed: int = 0) -> np.ndarray:
    """`[spots, GENES]`: more where there is more tissue."""
    at = field[xy[:, 1].astype(int), xy[:, 0].astype(int)]
    mean = (0.2 + 6 * at)[:, None] * np.linspace(0.2, 2, GENES)
    return np.random.default_rng(seed).poisson(mean)


def write_h5(path: Path, matrix, barcodes, ids=None, names=None, kinds=None) -> None:
    """`matrix` is `[barcodes, features]`."""
    ids = [f"ENSG{i:011d}" for i in range(matrix.shape[1])] if ids is None else ids
    names = [f"GENE{i}" for i in range(matrix.shape[1])] if names is None else names
    kinds = ["Gene Expression"] * len(ids) if kinds is None else kinds
    matrix = scipy.sparse.csr_matrix(matrix)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, "S")
        group["data"] = matrix.data.astype(np.int32)
        group["indices"], group["indptr"] = matrix.indices, matrix.indptr
        group["shape"] = np.array(matrix.shape[::-1])
        features = group.create_group("features")
        features["id"], features["name"] = np.array(ids, "S"), np.array(names, "S")
        features["feature_type"] = np.array(kinds, "S")
        features["genome"] = np.array(["GRCh38"] * len(ids), "S")


def write_visium(root: Path, seed: int = 0, header: bool = True) -> Path:
    """An output of Space Ranger 2 (1 without header), with slide.png beside spatial/.

    Returns the folder.
    """
    folder = root / "spatial"
    folder.mkdir(parents=True)
    barcodes, array, xy = spots()
    field = density(seed)
    write_h5(root / "filtered_feature_bc_matrix.h5", counts(field, xy, seed), barcodes)
    lines = [HEADER] if header else []
    for code, (row, col), (x, y) in zip(barcodes, array, xy, strict=True):
        lines.append(f"{code},1,{row},{col},{y:.3f},{x:.3f}")
    name = "tissue_positions.csv" if header else "tissue_positions_list.csv"
    (folder / name).write_text("\n".join(lines) + "\n")
    factors = {
        "spot_diameter_fullres": 65 / MPP,
        "fiducial_diameter_fullres": 105 / MPP,
        "tissue_hires_scalef": HIRES,
    }
    (folder / "scalefactors_json.json").write_text(json.dumps(factors))
    image = Image.fromarray(picture(field, seed))
    image.save(root / "slide.png", compress_level=1)
    image.reduce(2).save(folder / "tissue_hires_image.png")
    return root


def write_visium_hd(root: Path, side: int = 24, bin_um: int = 2, seed: int = 0) -> Path:
    """Bins of one size, `side` by `side`, mirrored as Visium HD is; a slide beside it.

    Returns the folder of Space Ranger's output, which may have other sizes already.
    """
    folder = root / "binned_outputs" / f"square_{bin_um:03d}um"
    (folder / "spatial").mkdir(parents=True)
    array = np.stack(np.divmod(np.arange(side * side), side), axis=1)
    xy = np.array([300.0, 700.0]) + array[:, ::-1] * [bin_um / HD_MPP, -bin_um / HD_MPP]
    codes = [f"s_{bin_um:03d}um_{row:05d}_{col:05d}-1" for row, col in array]
    table = pd.DataFrame(
        {
            "barcode": codes,
            "in_tissue": (array[:, 0] > 0).astype(np.int32),
            "array_row": array[:, 0].astype(np.int32),
            "array_col": array[:, 1].astype(np.int32),
            "pxl_row_in_fullres": xy[:, 1],
            "pxl_col_in_fullres": xy[:, 0],
        }
    )
    table.to_parquet(folder / "spatial" / "tissue_positions.parquet", index=False)
    factors = {
        "bin_size_um": float(bin_um),
        "microns_per_pixel": HD_MPP,
        "spot_diameter_fullres": bin_um / HD_MPP,
        "tissue_hires_scalef": HIRES,
    }
    (folder / "spatial" / "scalefactors_json.json").write_text(json.dumps(factors))
    matrix = np.random.default_rng(seed).poisson(0.3, (len(codes), GENES))
    write_h5(folder / "filtered_feature_bc_matrix.h5", matrix, codes)
    image = Image.fromarray(picture(density(seed), seed))
    image.save(root / "slide.png", compress_level=1)
    image.reduce(2).save(folder / "spatial" / "tissue_hires_image.png")
    return root
