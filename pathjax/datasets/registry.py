"""The shipped datasets by name, each with its options; `build` imports what it needs."""

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar

from pathjax.datasets.benchmarks import BENCHMARKS, Benchmark
from pathjax.datasets.dataset import Dataset, Progress
from pathjax.datasets.options import ImageOptions, TcgaOptions
from pathjax.registry import Registry


@dataclasses.dataclass(frozen=True)
class Demo(Dataset):
    """build the synthetic study"""

    patients: Annotated[int, "number of patients"] = 240
    tiles: Annotated[int, "tiles per patient"] = 8
    tile_px: Annotated[int, "side of a tile in pixels"] = 64
    mpp: Annotated[float, "micrometres per pixel"] = 1.0
    seed: Annotated[int, "random seed"] = 0

    source: ClassVar[str] = ""

    def build(self, source: Path | None, out: Path, progress: Progress):
        from pathjax.datasets.demo import build_demo

        options = dataclasses.asdict(self)
        tiles = options.pop("tiles")
        return build_demo(out, tiles_per_patient=tiles, progress=progress, **options)


@dataclasses.dataclass(frozen=True)
class Images(ImageOptions, Dataset):
    """build a study of your own images from a table of them"""

    source: ClassVar[str] = (
        "CSV with columns path, patient_id, mpp and optionally sample_id, site"
    )

    def build(self, source: Path | None, out: Path, progress: Progress):
        from pathjax.datasets.image_table import build_image_table

        return build_image_table(self, source, out, progress)


@dataclasses.dataclass(frozen=True)
class Her2st(Dataset):
    """build the her2st study: a tile and its counts per spot"""

    tile_um: Annotated[float, "side of a tile in micrometres"] = 112.0
    tile_px: Annotated[int, "side of a tile in pixels"] = 224

    source: ClassVar[str] = "folder with the unpacked archive"

    def build(self, source: Path | None, out: Path, progress: Progress):
        from pathjax.datasets.her2st.build import build_her2st

        return build_her2st(source, out, progress=progress, **dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True)
class Her2stTissue(Dataset):
    """build a study of unlabelled her2st tiles, for pre-training"""

    sections: Annotated[tuple[str, ...], "sections to use"] = ("C2", "C3", "C4")
    tile_px: Annotated[int, "side of a tile in pixels"] = 128

    source: ClassVar[str] = "folder with the unpacked archive"

    def build(self, source: Path | None, out: Path, progress: Progress):
        from pathjax.datasets.her2st.tissue import build_her2st_tissue

        options = dataclasses.asdict(self)
        return build_her2st_tissue(source, out, progress=progress, **options)


@dataclasses.dataclass(frozen=True)
class HestBench(Dataset):
    """build a task of HEST-bench from its published files"""

    source: ClassVar[str] = "folder of the task, with splits, patches and adata"

    def build(self, source: Path | None, out: Path, progress: Progress):
        from pathjax.datasets.hest_bench import build_hest_bench

        return build_hest_bench(source, out, progress=progress)


@dataclasses.dataclass(frozen=True)
class Tcga(TcgaOptions, Dataset):
    """pair slides, RNA and labels of TCGA"""

    source: ClassVar[str] = ""

    def build(self, source: Path | None, out: Path, progress: Progress):
        from pathjax.datasets.tcga.build import build_tcga

        return build_tcga(self, out, progress)


@dataclasses.dataclass(frozen=True)
class TileBenchmark(Dataset):
    """a public set of labelled tiles"""

    manual_dir: Annotated[
        Path | None, "folder with the published files; default: download them"
    ] = None
    cache: Annotated[
        Path | None, "folder for downloads and archives; default: ~/.cache/pathjax"
    ] = None
    partial: Annotated[
        bool, "accept a number of images that differs from the published one"
    ] = False

    source: ClassVar[str] = ""
    benchmark: ClassVar[Benchmark]

    def build(self, source: Path | None, out: Path, progress: Progress):
        from pathjax.datasets.benchmarks.build import build_benchmark

        options = dataclasses.asdict(self)
        return build_benchmark(self.benchmark, out, progress=progress, **options)

    @classmethod
    def of(cls, benchmark: Benchmark) -> type[Dataset]:
        """The dataset class of one benchmark."""
        body = {"benchmark": benchmark, "__doc__": benchmark.title}
        return type(benchmark.name, (cls,), body)


DATASETS: Registry[type[Dataset]] = Registry(
    "dataset",
    {
        "demo": Demo,
        "images": Images,
        "her2st": Her2st,
        "her2st-tissue": Her2stTissue,
        "hest-bench": HestBench,
        **{name: TileBenchmark.of(found) for name, found in BENCHMARKS.items()},
        "tcga": Tcga,
    },
    of=Dataset,
)
