"""`pathjax bench spatial`: Visium HD to tiles and counts, against spatialdata-io.

    pathjax bench spatial --peer

A made sample of bins of 16 um on a tiled TIFF at 0.25 um/px. *pathjax* is
`pathjax data spatial` with all checks, thumbnail, shard and tables; *spatialdata-io*
reads the same folder, takes the image into memory, cuts and encodes the same tiles, and
writes them to one file.
"""

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import Common, Entry
from pathjax.bench.worker import Contestant

BIN_UM, MPP = 16, 0.25
TILE_UM, TILE_PX, QUALITY = 112.0, 224, 90
GENES, COUNTS = 2000, 60  # genes, and counts per bin
BLOCK = 256  # side of the TIFF's tiles
BORDER_UM = 100.0  # of glass around the bins
GLASS, STAIN = np.array([235, 225, 232]), np.array([60, 130, 50])


@dataclass(frozen=True)
class Options(Common):
    """Options.

    Attributes:
      bins: Of the made sample, at least.
    """

    rounds: int = 1
    count: int = 1
    bins: int = 50_000


def entries(options: Options, folder: Path) -> list[Entry]:
    """Both contestants, ours first."""
    values = {"folder": str(folder), "threads": options.threads}
    module = "pathjax.bench.spatial"
    return [
        Entry("pathjax", "pathjax data spatial", f"{module}:Builder", values),
        Entry(
            "spatialdata-io",
            "spatialdata-io and cropping by hand",
            f"{module}:ByHand",
            values,
            ("spatialdata_io",),
            extra="spatial",
        ),
    ]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Makes the sample in `folder`/sample."""
    side = math.ceil(math.sqrt(options.bins))
    write_sample(folder / "sample", side)
    return {"bins": side * side}


def write_sample(root: Path, side: int, seed: int = 0) -> None:
    """An output of Space Ranger with `side` by `side` bins, slide.tif beside it."""
    import h5py
    import pandas as pd
    import scipy.sparse
    from PIL import Image

    binned = root / "binned_outputs" / f"square_{BIN_UM:03d}um"
    (binned / "spatial").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    width = math.ceil((side * BIN_UM + 2 * BORDER_UM) / MPP / BLOCK) * BLOCK
    field = _smooth(rng, width // BLOCK)
    _write_slide(root / "slide.tif", width, field, rng)
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


def _smooth(rng: np.random.Generator, side: int) -> np.ndarray:
    import scipy.ndimage

    field = scipy.ndimage.gaussian_filter(rng.normal(size=(side, side)), 3)
    field = 0.3 + 0.7 * (field - field.min()) / np.ptp(field)
    return np.pad(field[1:-1, 1:-1], 1)  # glass around it


def _write_slide(path: Path, width: int, field: np.ndarray, rng) -> None:
    """A tiled JPEG TIFF, darker where `field` (by block) is higher."""
    import scipy.ndimage
    import tifffile

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


class Builder(Contestant):
    """Our command."""

    def __init__(self, options: dict[str, Any]):
        import pathjax
        import pathjax.datasets.spatial.build  # imported before the first turn

        self._folder = Path(options["folder"])
        self._out = self._folder / "study"
        versions = {"pathjax": pathjax.__version__}
        self.info = {
            "unit": "bins",
            "versions": versions,
            "threads": options["threads"],
            "note": f"tiles of {TILE_PX} px",
        }

    def prepare(self) -> None:
        shutil.rmtree(self._out, ignore_errors=True)

    def run(self, count: int) -> int:
        """Builds the study `count` times."""
        from pathjax.datasets.spatial.build import build_spatial
        from pathjax.datasets.spatial.manifest import SampleRow
        from pathjax.datasets.spatial.options import SpatialOptions

        options = SpatialOptions(tile_um=TILE_UM, tile_px=TILE_PX)
        rows = [SampleRow(self._folder / "sample")]
        outs = [self._out / str(number) for number in range(count)]
        return sum(len(build_spatial(rows, out, options)) for out in outs)


class ByHand(Builder):
    """spatialdata-io, NumPy and Pillow."""

    def __init__(self, options: dict[str, Any]):
        import spatialdata_io

        self._folder = Path(options["folder"])
        self.info = {
            "unit": "bins",
            "versions": {"spatialdata-io": spatialdata_io.__version__},
            "threads": options["threads"],
            "note": "the image in memory",
        }
        self._threads = options["threads"]

    def prepare(self) -> None:
        pass

    def run(self, count: int) -> int:
        """Reads, cuts and writes `count` times."""
        return sum(self._once() for _ in range(count))

    def _once(self) -> int:
        import concurrent.futures
        import io

        from PIL import Image
        from spatialdata_io import visium_hd

        sample = self._folder / "sample"
        data = visium_hd(
            sample,
            dataset_id="",
            bin_size=BIN_UM,
            load_segmentations_only=False,
            fullres_image_file=sample / "slide.tif",
        )
        name = next(key for key in data.images if key.endswith("full_image"))
        picture = next(iter(data.images[name]["scale0"].ds.data_vars.values()))
        image = np.ascontiguousarray(np.moveaxis(np.asarray(picture.data), 0, 2))
        table = data.tables[f"square_{BIN_UM:03d}um"]
        half = TILE_UM / MPP / 2

        def encoded(centre) -> bytes:
            x, y = np.round(centre - half).astype(int)
            side = round(2 * half)
            tile = Image.fromarray(image[y : y + side, x : x + side])
            out = io.BytesIO()
            small = tile.resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)
            small.save(out, "JPEG", quality=QUALITY)
            return out.getvalue()

        table.write_h5ad(self._folder / "by-hand.h5ad")
        with (
            concurrent.futures.ThreadPoolExecutor(self._threads) as pool,
            open(self._folder / "by-hand.bin", "wb") as file,
        ):
            file.writelines(pool.map(encoded, table.obsm["spatial"]))
        return table.n_obs
