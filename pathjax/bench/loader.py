"""`pathjax bench loader`: our loader against tf.data and against its own limit.

The limit is the same decoding and augmentation in threads, into reused buffers, from
records in memory, without order, reading, queue or batch objects. What a loader loses
against it is its own overhead.
"""

import concurrent.futures
import dataclasses
from pathlib import Path
from typing import Any

from pathjax.bench.options import Common, Entry
from pathjax.bench.worker import Contestant

UNTIMED = 12  # batches before a turn, so that it does not start with read-ahead ones
PATIENTS = 20


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Tiles and batches.

    Attributes:
      study: Study whose first split and fold are read; "" makes a synthetic one.
      tiles, tile_px: Of the synthetic study; `tiles` limits a named one for the limit
        and the peers, which keep encoded tiles in memory.
      image_px: Side of the crops.
      batch: Tiles in a batch.
      buffer: Batches that our loader reads ahead.
    """

    count: int = 100
    study: str = ""
    tiles: int = 640
    tile_px: int = 256
    image_px: int = 224
    batch: int = 64
    buffer: int = 4


def entries(options: Options, folder: Path) -> list[Entry]:
    """All contestants, ours first."""
    base = dataclasses.asdict(options) | {
        "folder": str(folder),
        "study": options.study or str(folder / "study"),
    }
    ours, peer = "pathjax.bench.loader", "pathjax.bench.tfdata_peer:TFData"
    fused, tf = base | {"fused": True}, ("tensorflow",)
    return [
        Entry("pathjax", "pathjax", f"{ours}:Loader", base),
        Entry("limit", "decode and augment", f"{ours}:Limit", base),
        Entry("tf.data", "tf.data", peer, base | {"fused": False}, tf),
        Entry("tf.data-fused", "tf.data, decode_and_crop", peer, fused, tf),
    ]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Makes the study unless one is named, and tiles.npz for the limit and the peers."""
    import numpy as np

    from pathjax.data.study import Study
    from pathjax.datasets.demo.build import build_demo

    if options.study:
        study = Study(options.study)
    else:
        study = build_demo(
            folder / "study",
            patients=PATIENTS,
            tiles_per_patient=-(-options.tiles // PATIENTS),
            tile_px=options.tile_px,
            mpp=0.5,
            workers=1,
        )
    tiles = study.tile_bytes(range(min(options.tiles, len(study.tiles))))
    np.savez(
        folder / "tiles.npz",
        data=np.frombuffer(b"".join(tiles), np.uint8),
        ends=np.cumsum([len(tile) for tile in tiles]),
    )
    mean_bytes = round(sum(map(len, tiles)) / len(tiles))
    return {"tiles": {"synthetic": study.synthetic, "mean_bytes": mean_bytes}}


def read_tiles(folder: str | Path) -> list[bytes]:
    """The encoded tiles that `prepare` wrote; needs NumPy only."""
    import numpy as np

    with np.load(Path(folder) / "tiles.npz") as file:
        data, ends = file["data"].tobytes(), file["ends"].tolist()
    return [data[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


class Loader(Contestant):
    """`train_batches` as a training run uses it."""

    def __init__(self, options: dict[str, Any]):
        import grain
        import numpy as np
        import simplejpeg

        from pathjax.data.pipeline import train_batches
        from pathjax.data.samples import gather
        from pathjax.data.study import Study
        from pathjax.data.transforms import Augment

        study = Study(options["study"])
        split = study.split_names[0]
        fold = next(iter(study.split(split).folds))
        self._batch = options["batch"]
        self._iterator = train_batches(
            study,
            gather(study, split, fold, unit="tile"),
            batch=options["batch"],
            tiles=1,
            image_px=options["image_px"],
            options=Augment(turn=False),
            seed=0,
            threads=options["threads"],
            buffer=options["buffer"],
        )
        next(self._iterator)
        modules = (grain, simplejpeg, np)
        self.info = {
            "versions": {m.__name__: m.__version__ for m in modules},
            "threads": options["threads"],
            "note": f"{options['threads']} reading threads, "
            f"{options['buffer']} batches ahead",
        }

    def prepare(self) -> None:
        for _ in range(UNTIMED):
            next(self._iterator)

    def run(self, count: int) -> int:
        for _ in range(count):
            next(self._iterator)
        return count * self._batch


class Limit(Contestant):
    """Decoding and augmenting alone, in threads."""

    def __init__(self, options: dict[str, Any]):
        import simplejpeg

        self._options = options
        self._records = read_tiles(options["folder"])
        self.run(1)
        self.info = {
            "versions": {"simplejpeg": simplejpeg.__version__},
            "threads": options["threads"],
            "note": f"{options['threads']} threads",
        }

    def run(self, count: int) -> int:
        """`count` batches, shared by the threads."""
        workers = self._options["threads"]
        shares = [count // workers + (i < count % workers) for i in range(workers)]
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            list(pool.map(self.decode, range(workers), shares))
        return count * self._options["batch"]

    def decode(self, seed: int, count: int) -> Any:
        """Decodes and augments batches into one buffer `[B, H, W, 3]`; returns it."""
        import numpy as np

        from pathjax.data import images, transforms

        random, augment = np.random.default_rng(seed), transforms.Augment(turn=False)
        px = self._options["image_px"]
        buffer = np.empty((self._options["batch"], px, px, 3), np.uint8)
        for _ in range(count):
            for out in buffer:
                data = self._records[int(random.integers(len(self._records)))]
                tile = images.decode_tile(data)
                transforms.place(transforms.augment(tile, px, augment, random), out)
        return buffer
