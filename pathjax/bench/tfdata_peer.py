"""`pathjax bench loader --peer`: tf.data on the same tiles.

From a TFRecord file of the same bytes: shuffled, decoded, cropped, flipped both ways and
batched as uint8, in parallel with AUTOTUNE and prefetched. Ours does the same here and
leaves out quarter turns, for which TensorFlow would pay more.
"""

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow is imported

import numpy as np
import tensorflow as tf

from pathjax.bench.loader import read_tiles
from pathjax.bench.worker import Contestant

UNTIMED = 40  # batches before a turn, from a new iterator: for AUTOTUNE to settle


class TFData(Contestant):
    """A tf.data pipeline."""

    def __init__(self, options: dict[str, Any]):
        threads = options["threads"]
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._batch = options["batch"]
        path = f"{options['folder']}/tiles-{os.getpid()}.tfrecord"
        with tf.io.TFRecordWriter(path) as writer:
            for tile in read_tiles(options["folder"]):
                writer.write(tile)
        fused, px = options["fused"], options["image_px"]
        decode = decode_crop if fused else decode_then_crop

        def load(data):
            image = decode(data, px)
            image = tf.image.random_flip_left_right(image)
            return tf.image.random_flip_up_down(image)

        dataset = (
            tf.data.TFRecordDataset(path)
            .cache()  # the bytes, in memory: reading is not what is compared
            .shuffle(options["tiles"], seed=0)
            .repeat()
            .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
            .batch(self._batch, drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )
        pool = tf.data.Options()
        pool.threading.private_threadpool_size = threads
        self._dataset, self._iterator = dataset.with_options(pool), None
        batch, shape = next(iter(self._dataset)), (self._batch, px, px, 3)
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


def decode_then_crop(data, px: int):
    """Decodes the whole tile, then crops at random."""
    return tf.image.random_crop(tf.io.decode_jpeg(data, channels=3), (px, px, 3))


def decode_crop(data, px: int):
    """Decodes only the rows that a random crop needs."""
    sides = tf.io.extract_jpeg_shape(data)[:2]
    corner = [tf.random.uniform((), 0, sides[i] - px + 1, tf.int32) for i in (0, 1)]
    window = tf.stack([*corner, px, px])
    return tf.io.decode_and_crop_jpeg(data, window, channels=3)
