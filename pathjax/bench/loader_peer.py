"""`pathjax bench loader --peer`: tf.data on the same tiles, in a worker.

From a TFRecord file made here of the same bytes: shuffled, decoded, cropped, flipped
both ways and batched as uint8, in parallel with AUTOTUNE and prefetched. Ours does the
same here and leaves out quarter turns, for which TensorFlow would pay more.
"""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is imported

import numpy as np
import tensorflow as tf

from pathjax.bench.worker import Contestant, serve

UNTIMED = 40  # batches before a turn, from a new iterator: for AUTOTUNE to settle


class TFData(Contestant):
    """A tf.data pipeline."""

    def __init__(self, options: dict[str, Any]):
        threads = options["threads"]
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._batch = options["batch"]
        folder = Path(options["folder"])
        path = write_records(folder, f"tiles-{os.getpid()}.tfrecord")
        fused = options["kind"] == "fused"
        read = decode_crop if fused else decode_then_crop
        side, px = options["tile_px"], options["image_px"]

        def load(data):
            image = read(data, side, px)
            image = tf.image.random_flip_left_right(image)
            return tf.image.random_flip_up_down(image)

        dataset = (
            tf.data.TFRecordDataset(str(path))
            .cache()  # the bytes, in memory: reading is not what is compared
            .shuffle(options["tiles"], seed=0)
            .repeat()
            .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
            .batch(self._batch, drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )
        pool = tf.data.Options()
        pool.threading.private_threadpool_size = threads
        self._dataset = dataset.with_options(pool)
        self._iterator = None
        batch = next(iter(self._dataset))
        shape = (self._batch, px, px, 3)
        if tuple(batch.shape) != shape or batch.dtype != tf.uint8:
            raise ValueError(f"expected uint8{shape}, got {batch.dtype}{batch.shape}")
        self.info = {
            "versions": {"tensorflow": tf.__version__, "numpy": np.__version__},
            "threads": threads,
            "note": "TFRecord, bytes cached in memory, AUTOTUNE, "
            + ("decode_and_crop_jpeg" if fused else "decode_jpeg, then random_crop"),
        }

    def prepare(self) -> None:
        """Makes a new iterator for each turn, which `run` drops.

        A lasting one would read ahead during the turns of others: AUTOTUNE buffers more
        than a turn takes, and the turn would time a queue.
        """
        self._iterator = iter(self._dataset)
        for _ in range(UNTIMED):
            next(self._iterator)

    def run(self, count: int) -> int:
        for _ in range(count):
            next(self._iterator).numpy()  # no copy on the CPU
        self._iterator = None
        return count * self._batch


def decode_then_crop(data, side: int, px: int):
    """Decodes all of it, then a random crop."""
    return tf.image.random_crop(tf.io.decode_jpeg(data, channels=3), (px, px, 3))


def decode_crop(data, side: int, px: int):
    """Decodes only the rows that a random crop needs."""
    corner = tf.random.uniform((2,), 0, side - px + 1, tf.int32)
    window = tf.concat([corner, (px, px)], 0)
    return tf.io.decode_and_crop_jpeg(data, window, channels=3)


def write_records(folder: Path, name: str) -> Path:
    """The tiles as a TFRecord file."""
    with np.load(folder / "tiles.npz") as file:
        data, ends = file["data"].tobytes(), file["ends"].tolist()
    path, start = folder / name, 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for end in ends:
            writer.write(data[start:end])
            start = end
    return path


if __name__ == "__main__":
    serve(TFData)
