"""`pathjax bench spatial`: Visium HD to tiles and counts, against spatialdata-io.

    pathjax bench spatial --peer --config.sample=FOLDER

FOLDER is an output of Space Ranger with bins of 16 um and its slide.tif at 0.25 um/px,
such as tests/large_visium_hd.py makes. *pathjax* is `pathjax data spatial` with all
checks, thumbnail, shard and tables; *spatialdata-io* reads the same folder, takes the
image into memory, cuts and encodes the same tiles, and writes them to one file.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import BenchError, Common, Entry
from pathjax.bench.worker import Contestant

BIN_UM, MPP = 16, 0.25
TILE_UM, TILE_PX, QUALITY = 112.0, 224, 90


@dataclass(frozen=True)
class Options(Common):
    """Options.

    Attributes:
      sample: Folder of the sample.
    """

    rounds: int = 1
    count: int = 1
    sample: str = ""


def entries(options: Options, folder: Path) -> list[Entry]:
    """Both contestants, ours first."""
    values = {"sample": options.sample, "folder": str(folder)}
    values["threads"] = options.threads
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
    """Checks that there is a sample.

    Raises:
      BenchError: none is named.
    """
    if not (Path(options.sample) / "slide.tif").is_file():
        raise BenchError(
            "expected a folder with slide.tif: give --config.sample=FOLDER, such as "
            "tests/large_visium_hd.py makes"
        )
    return {}


class Builder(Contestant):
    """Our command."""

    def __init__(self, options: dict[str, Any]):
        import pathjax
        import pathjax.datasets.spatial.build  # imported before the first turn

        self._sample, self._folder = Path(options["sample"]), Path(options["folder"])
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
        rows = [SampleRow(self._sample)]
        outs = [self._out / str(number) for number in range(count)]
        return sum(len(build_spatial(rows, out, options)) for out in outs)


class ByHand(Builder):
    """spatialdata-io, NumPy and Pillow."""

    def __init__(self, options: dict[str, Any]):
        import spatialdata_io

        self._sample, self._folder = Path(options["sample"]), Path(options["folder"])
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

        data = visium_hd(
            self._sample,
            dataset_id="",
            bin_size=BIN_UM,
            load_segmentations_only=False,
            fullres_image_file=self._sample / "slide.tif",
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
