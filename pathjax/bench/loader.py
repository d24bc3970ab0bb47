"""`pathjax bench loader`: our loader against tf.data and against its own limit.

The limit is the same decoding and augmentation into reused buffers, from records in
memory, without order, reading, queue or batch objects: in threads and in processes.
What a loader loses against the better of the two is its own overhead.
"""

import dataclasses
import multiprocessing
import sys
import threading
from pathlib import Path
from typing import Any

from pathjax.bench.options import Common
from pathjax.bench.runner import Entry
from pathjax.bench.worker import Contestant, serve

UNTIMED = 12  # batches before a turn, so that it does not start with read-ahead ones


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Tiles and batches.

    Attributes:
      images: Folder of tissue images to cut the tiles from; "" looks into monuseg/ of
        the folder PATHJAX_TEST_DATA, and draws synthetic tissue if there is none.
      tiles, tile_px, image_px: Number of tiles, their side, the side of the crops.
      batch: Tiles in a batch.
      buffer: Batches that our loader reads ahead.
    """

    count: int = 100
    images: str = ""
    tiles: int = 2048
    tile_px: int = 256
    image_px: int = 224
    batch: int = 64
    buffer: int = 4


def entries(options: Options, folder: Path) -> list[Entry]:
    """All contestants, ours first."""
    base = dataclasses.asdict(options) | {"folder": str(folder)}

    def ours(name: str, label: str, kind: str) -> Entry:
        return Entry(name, label, "pathjax.bench.loader", base | {"kind": kind})

    def peer(name: str, label: str, kind: str) -> Entry:
        module, values = "pathjax.bench.loader_peer", base | {"kind": kind}
        return Entry(name, label, module, values, True, ("tensorflow",))

    return [
        ours("pathjax", "pathjax", "loader"),
        ours("limit-threads", "decode and augment, threads", "threads"),
        ours("limit-processes", "decode and augment, processes", "processes"),
        peer("tf.data", "tf.data", "plain"),
        peer("tf.data-fused", "tf.data, decode_and_crop", "fused"),
    ]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Builds the study; returns its description for the result."""
    from pathjax.bench.loader_data import build

    study, source = build(folder, options)
    size = (folder / "tiles.npz").stat().st_size / len(study.tiles)
    return {"tiles": {"made_of": source, "mean_bytes": round(size)}}


class OurLoader(Contestant):
    """`train_batches` as a training run uses it."""

    def __init__(self, options: dict[str, Any]):
        import grain
        import numpy as np
        import simplejpeg

        from pathjax.data.pipeline import train_batches
        from pathjax.data.samples import gather
        from pathjax.data.study import Study
        from pathjax.data.transforms import Augment

        study = Study(Path(options["folder"]) / "study")
        self._batch = options["batch"]
        self._iterator = train_batches(
            study,
            gather(study, "all", "train", unit="tile"),
            batch=options["batch"],
            tiles=1,
            image_px=options["image_px"],
            options=Augment(turn=False),
            seed=0,
            threads=options["threads"],
            buffer=options["buffer"],
        )
        next(self._iterator)
        self.info = {
            "versions": {
                "grain": grain.__version__,
                "simplejpeg": simplejpeg.__version__,
                "numpy": np.__version__,
            },
            "threads": options["threads"],
            "note": f"{options['threads']} reading threads, {options['buffer']} batches "
            "ahead",
        }

    def prepare(self) -> None:
        for _ in range(UNTIMED):
            next(self._iterator)

    def run(self, count: int) -> int:
        for _ in range(count):
            next(self._iterator)
        return count * self._batch


class Limit(Contestant):
    """Decoding and augmenting alone, in threads or in processes."""

    def __init__(self, options: dict[str, Any]):
        import simplejpeg

        self._batch, self._workers = options["batch"], options["threads"]
        self._kind = options["kind"]
        records = read_records(Path(options["folder"]) / "tiles.npz")
        self._jobs = [
            Decoder(records, options["image_px"], options["batch"], seed)
            for seed in range(self._workers)
        ]
        self._pipes = []
        if self._kind == "processes":
            context = multiprocessing.get_context("fork")  # before any thread
            for job in self._jobs:
                ours, theirs = context.Pipe()
                context.Process(target=obey, args=(job, theirs), daemon=True).start()
                self._pipes.append(ours)
        self.run(1)
        self.info = {
            "versions": {"simplejpeg": simplejpeg.__version__},
            "threads": self._workers,
            "children": self._kind == "processes",
            "note": f"{self._workers} {self._kind}",
        }

    def run(self, count: int) -> int:
        """`count` batches, shared by the workers."""
        shares = [
            count // self._workers + (i < count % self._workers)
            for i in range(self._workers)
        ]
        if self._kind == "processes":
            for pipe, share in zip(self._pipes, shares, strict=True):
                pipe.send(share)
            for pipe in self._pipes:
                pipe.recv()
        else:
            threads = [
                threading.Thread(target=job, args=(share,))
                for job, share in zip(self._jobs, shares, strict=True)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return count * self._batch


class Decoder:
    """Decodes and augments batches of random records into one buffer of its own."""

    def __init__(self, records: list[bytes], px: int, batch: int, seed: int):
        import numpy as np

        from pathjax.data import images, transforms

        self._decode, self._transforms = images.decode_tile, transforms
        self._options = transforms.Augment(turn=False)
        self._records, self._px = records, px
        self._random = np.random.default_rng(seed)
        self._image = np.empty((batch, px, px, 3), np.uint8)

    def __call__(self, count: int) -> None:
        for _ in range(count):
            for out in self._image:
                data = self._records[int(self._random.integers(len(self._records)))]
                view = self._transforms.augment(
                    self._decode(data), self._px, self._options, self._random
                )
                self._transforms.place(view, out)


def obey(job: Decoder, pipe: Any) -> None:
    """The loop of a decoding process."""
    while True:
        job(pipe.recv())
        pipe.send(None)


def read_records(path: Path) -> list[bytes]:
    """The encoded tiles that `loader_data.build` wrote."""
    import numpy as np

    with np.load(path) as file:
        data, ends = file["data"].tobytes(), file["ends"].tolist()
    starts = [0, *ends[:-1]]
    return [data[a:b] for a, b in zip(starts, ends, strict=True)]


if __name__ == "__main__":
    serve(OurLoader if '"kind": "loader"' in sys.argv[1] else Limit)
