"""A study with an index of 10^8 tiles, for `bench index`, and its opening.

    python -m pathjax.bench.index_study build|open OPTIONS.json

Each is a process of its own that prints what it measured as JSON. Real slides would be
terabytes: here every slide has its own row, its own rows of tiles.parquet and its own
shard file, and those files are hard links to one, so that readers and reads are real and
the disk holds the tiles of one slide.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.bench.options import Common
from pathjax.bench.worker import peak_bytes
from pathjax.files import atomic_path

SHADES = 64  # different tiles in a shard


@dataclasses.dataclass(frozen=True)
class IndexOptions(Common):
    """Of `bench index`; contestants, rounds and peers mean nothing here.

    Attributes:
      folder: where the study is made, and kept; one that is there is read again. "" is
        a temporary folder.
      patients, slides: how many; the first `slides - patients` patients have two.
      tiles: of each slide.
      tile_px: side of a tile.
      batch, bag: samples of a batch, and tiles of a sample.
      count: batches after the first.
    """

    folder: str = ""
    patients: int = 10_000
    slides: int = 11_000
    tiles: int = 9_091
    tile_px: int = 224
    batch: int = 256
    bag: int = 8
    count: int = 10


def build(root: Path, options: IndexOptions) -> dict[str, Any]:
    """Makes the study; seconds and peak memory of writing its index."""
    from pathjax.data.study import Split, sha256
    from pathjax.data.study_writer import StudyWriter

    writer = StudyWriter(
        root,
        name="index",
        tile_px=options.tile_px,
        mpp=0.5,
        gene_id_type=None,
        synthetic=True,
        provenance={"source": "pathjax bench index"},
        build=dataclasses.asdict(options) | {"folder": ""},
    )
    shard = write_shard(root / ".build" / "one.array_record", options)
    checksum = sha256(shard)
    slides = slide_table(options)
    for slide in slides.to_dict("records"):
        if not writer.has_shard(slide["slide_id"]):
            rows = tile_rows(slide, options)
            writer.adopt(slide["slide_id"], shard, rows, checksum)
    columns = ["sample_id", "patient_id", "site"]
    samples = slides[columns].drop_duplicates(ignore_index=True)
    ids, test = samples["patient_id"].tolist(), options.patients // 10
    split = Split("main", {"train": tuple(ids[test:]), "test": tuple(ids[:test])})
    start = time.perf_counter()
    study = writer.finish(samples=samples, targets=[], splits=[split], slides=slides)
    return {
        "rows": len(study),
        "index_bytes": (root / "tiles.parquet").stat().st_size,
        "finish_seconds": time.perf_counter() - start,
        "peak_bytes": peak_bytes(),
    }


def write_shard(path: Path, options: IndexOptions) -> Path:
    """A shard of one slide: plain tiles in SHADES colours, again and again."""
    from array_record.python.array_record_module import ArrayRecordWriter

    from pathjax.data.images import encode_jpeg
    from pathjax.data.study_writer import RECORD_OPTIONS

    shades = np.linspace(60, 250, SHADES).astype(np.uint8)
    px = options.tile_px
    tiles = [encode_jpeg(np.full((px, px, 3), shade, np.uint8)) for shade in shades]
    with atomic_path(path) as partial:
        writer = ArrayRecordWriter(str(partial), RECORD_OPTIONS)
        for k in range(options.tiles):
            writer.write(tiles[k % SHADES])
        writer.close()
    return path


def slide_table(options: IndexOptions) -> pd.DataFrame:
    """Slides in no order of their patients, which are samples."""
    number = np.arange(options.slides)
    patient = [f"TCGA-{i % 700:03d}-{i:05d}" for i in number % options.patients]
    order = np.random.default_rng(0).permutation(options.slides)
    table = pd.DataFrame(
        {
            "slide_id": [
                f"{one}-01Z-00-DX{i // options.patients + 1}"
                for i, one in zip(number, patient, strict=True)
            ],
            "patient_id": patient,
            "sample_id": patient,
            "site": [one[5:8] for one in patient],
            "path": "",
            "status": "tiled",
            "reason": "",
            "width": 100_000,
            "height": 100_000,
            "mpp": 0.25,
            "mpp_source": "made up",
            "tissue": 0.2,
        }
    )
    return table.iloc[order].reset_index(drop=True)


def tile_rows(slide: dict[str, Any], options: IndexOptions) -> pd.DataFrame:
    """The rows of one slide's tiles, on a grid."""
    side = int(np.ceil(np.sqrt(options.tiles)))
    y, x = np.divmod(np.arange(options.tiles), side)
    x, y = 2 * options.tile_px * x, 2 * options.tile_px * y
    owner = {name: slide[name] for name in ("sample_id", "patient_id", "site")}
    name = slide["slide_id"]
    places = zip(x.tolist(), y.tolist(), strict=True)
    table = {"tile_id": [f"{name}_{a}_{b}" for a, b in places]}
    table |= owner | {"slide_id": name, "x": x, "y": y, "mpp": 0.5, "shard": name}
    return pd.DataFrame(table | {"row": np.arange(options.tiles)})


def open_study(root: Path, options: IndexOptions) -> dict[str, Any]:
    """Opens the study, gathers the training fold, draws batches.

    Returns:
      Seconds of each step; `gathered_bytes`, the peak memory before the first batch;
      `batch_bytes`, of the tiles of one, some of which are read ahead; `peak_bytes`.
    """
    found = dict(_steps(root, options))
    total = sum(found[name] for name in ("import", "open", "gather", "first_batch"))
    return {**found, "total": total, "peak_bytes": peak_bytes()}


def _steps(root: Path, options: IndexOptions) -> Iterator[tuple[str, float]]:
    start = time.perf_counter()

    def passed() -> float:
        nonlocal start
        before, start = start, time.perf_counter()
        return start - before

    from pathjax.data.pipeline import train_batches
    from pathjax.data.samples import gather
    from pathjax.data.study import Study
    from pathjax.data.transforms import Augment

    yield "import", passed()
    study = Study(root)
    yield "open", passed()
    samples = gather(study, "main", "train")
    yield "gather", passed()
    yield "gathered_bytes", peak_bytes()
    batches = train_batches(
        study,
        samples,
        batch=options.batch,
        tiles=options.bag,
        image_px=options.tile_px,
        options=Augment(),
        seed=0,
        threads=options.threads,
    )
    batch = next(batches)
    yield "first_batch", passed()
    yield "batch_bytes", batch["image"].nbytes
    for _ in range(options.count):
        next(batches)
    yield "next_batches_each", passed() / options.count


if __name__ == "__main__":
    chosen = IndexOptions(**json.loads(sys.argv[3]))
    stage = {"build": build, "open": open_study}[sys.argv[1]]
    print(json.dumps(stage(Path(sys.argv[2]), chosen)))
