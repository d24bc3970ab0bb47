"""Batches: Grain over ArrayRecord, uint8 from the shard to the device.

    MapDataset.range(samples) -> shuffle -> repeat -> batch (of numbers) -> load

Elements are numbers until the last step, which reads, decodes and augments a batch in
one call. Element i is the global batch i, so that a position means the same for any
number of processes; each process loads its own rows.

Batch keys (docs/architecture.md): `image [B, K, H, W, 3] uint8`, `mask [B] bool`,
`pair_id [B] int32`, `sample [B] int32` (row of the study's samples), `expression
[B, G] float32`; with raw counts `counts [B, G]` and `library [B]`; where samples were
measured for other genes `measured [B, G] bool`; `vectors [B, X]` from another model; with text `text [B, T] float32` and
`has_expression`, `has_text [B] bool`. Instead of `image`, DINO has
`crops_global [B, V, H, W, 3]` and `crops_local [B, L, h, w, 3]`, which self-distillation
beside another objective has too, and a frozen encoder `embedding [B, K, E]`, computed
once for all tiles of the study.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import grain.python as grain
import numpy as np
from jaxtyping import Float, Int

from pathjax.data.images import decode_tile
from pathjax.data.samples import Samples
from pathjax.data.study import Study, StudyError
from pathjax.data.transforms import (
    Augment,
    MultiCrop,
    augment,
    centre_crop,
    flip,
    jitter_stain,
    place,
    scaled_crop,
)
from pathjax.parallel.slice import Slice

Batch = dict[str, Any]
# More than any run takes. Grain's endless repeat overflows with batches of one sample.
EPOCHS = 1 << 31
# Arrays of `Samples`, where present.
LABELS = (
    *("expression", "counts", "library", "measured"),
    *("text", "has_expression", "has_text", "vectors"),
)
Features = Float[np.ndarray, "T E"]  # a row for each tile of a study


def decode_row(study: Study, row: int, data: bytes) -> np.ndarray:
    """Decodes a record; names the tile when it is broken."""
    try:
        return decode_tile(data)
    except ValueError as error:
        raise StudyError(
            f"tile {study.tile_id(row)} (row {row}) of study "
            f"{study.name} is broken: {error}; `pathjax data check` lists all of them"
        ) from error


@dataclasses.dataclass(frozen=True)
class TrainLoader:
    """Turns (batch number, sample numbers) into an augmented batch.

    A record's randomness is a function of (seed, epoch, sample), whatever the threads,
    processes and earlier reads. Attributes are the arguments of `train_batches`.
    """

    study: Study
    samples: Samples
    batch: int
    tiles: int
    image_px: int
    options: Augment | MultiCrop | None
    seed: int
    part: Slice
    features: Features | None = None
    crops: MultiCrop | None = None

    def __call__(self, index: int, numbers: Int[np.ndarray, "B"]) -> Batch:
        mine = self.part.of(self.batch)
        steps = np.arange(index * self.batch, (index + 1) * self.batch)[mine]
        numbers = np.asarray(numbers)[mine]
        if self.options is None:
            mask = np.ones(len(numbers), bool)
            return labels(self.samples, numbers) | {"mask": mask}
        randoms = [
            np.random.default_rng((self.seed, step // len(self.samples), number))
            for step, number in zip(steps.tolist(), numbers.tolist(), strict=True)
        ]
        counts = self.samples.counts_of(numbers).tolist()
        places = [
            draw_tiles(n, self.tiles, r) for n, r in zip(counts, randoms, strict=True)
        ]
        rows = self.samples.rows_at(numbers, np.stack(places))
        batch = labels(self.samples, numbers)
        batch["mask"] = np.ones(len(numbers), bool)
        if self.features is not None:
            return batch | {"embedding": self.features[rows]}
        records = self.study.tile_bytes(rows.reshape(-1))
        if isinstance(self.options, MultiCrop):
            return batch | self._multi_crop(rows, records, randoms, self.options)
        batch |= self._single(rows, records, randoms, self.options)
        if self.crops is not None:
            batch |= self._multi_crop(rows, records, randoms, self.crops)
        return batch

    def _single(self, rows, records, randoms, options: Augment) -> Batch:
        count, tiles = rows.shape
        image = np.empty((count, tiles, self.image_px, self.image_px, 3), np.uint8)
        for i, row in enumerate(rows.reshape(-1)):
            sample, k = divmod(i, tiles)
            tile = decode_row(self.study, row, records[i])
            view = augment(tile, self.image_px, options, randoms[sample])
            place(view, image[sample, k])
        return {"image": image}

    def _multi_crop(self, rows, records, randoms, o: MultiCrop) -> Batch:
        count = len(rows)
        large = np.empty(
            (count, o.global_crops, self.image_px, self.image_px, 3), np.uint8
        )
        small = np.empty((count, o.local_crops, o.local_px, o.local_px, 3), np.uint8)
        for i, random in enumerate(randoms):
            tile = decode_row(self.study, rows[i, 0], records[i * rows.shape[1]])
            for views, px, scale in (
                (large[i], self.image_px, o.global_scale),
                (small[i], o.local_px, o.local_scale),
            ):
                for view in range(len(views)):
                    cut = flip(scaled_crop(tile, px, scale, random), random)
                    views[view] = jitter_stain(cut, o.stain, random)
        return {"crops_global": large, "crops_local": small}


def draw_tiles(
    count: int, tiles: int, random: np.random.Generator
) -> Int[np.ndarray, "K"]:
    """K places among a sample's `count` tiles, without repeats while there are enough.

    All tiles are equally likely. Memory and time do not grow with `count`: NumPy
    samples few of many by Floyd's algorithm.
    """
    if count == tiles == 1:  # a spot
        return np.zeros(1, np.int64)
    if count >= tiles:
        return random.choice(count, tiles, replace=False)
    extra = random.choice(count, tiles - count)
    return np.concatenate([random.permutation(count), extra])


def labels(samples: Samples, numbers: Int[np.ndarray, "B"]) -> Batch:
    """The part of a batch that is not images."""
    batch = {"pair_id": samples.pair_id[numbers], "sample": samples.row[numbers]}
    for name in LABELS:
        values = getattr(samples, name)
        if values is not None:
            batch[name] = values[numbers]
    return batch


def train_batches(
    study: Study,
    samples: Samples,
    *,
    batch: int,
    tiles: int,
    image_px: int,
    options: Augment | MultiCrop | None,
    seed: int,
    threads: int = 2,
    buffer: int = 4,
    part: Slice | None = None,
    features: Features | None = None,
    crops: MultiCrop | None = None,
) -> grain.DatasetIterator:
    """An endless iterator of training batches with a state to save.

    Args:
      study, samples: The data.
      batch: Global batch size, in samples.
      tiles: K, sampled anew each time a sample is seen.
      image_px: Side of the views.
      options: How views are made; None reads no tile.
      seed: Of order, sampling and augmentation.
      threads, buffer: Reading threads, and batches read ahead, inside Grain, whose
        state follows what was yielded.
      part: This process's part.
      features: Embeddings of all tiles of the study, used instead of tiles.
      crops: Further views, of the first of each sample's K tiles; None for none.

    Raises:
      StudyError: The batch does not divide over the processes, or the views are larger
        than the stored tiles.
    """
    part = part or Slice()
    if batch % part.processes:
        raise StudyError(
            f"data.batch={batch} does not divide over {part.processes} processes: use "
            f"{batch // part.processes * part.processes or part.processes}"
        )
    reads_tiles = features is None and isinstance(options, Augment)
    if reads_tiles and image_px > study.tile_px:
        raise StudyError(
            f"data.image_px={image_px} is larger than the study's tiles of "
            f"{study.tile_px} px: build the study with larger tiles"
        )
    loader = TrainLoader(
        study,
        samples,
        batch=batch,
        tiles=tiles,
        image_px=image_px,
        options=options,
        seed=seed,
        part=part,
        features=features,
        crops=crops,
    )
    dataset = (
        grain.MapDataset.range(len(samples))
        .shuffle(seed=seed)
        .repeat(EPOCHS)
        .batch(batch)
        .map_with_index(loader)
    )
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=buffer)
    return iter(dataset.to_iter_dataset(reading))


def eval_batches(
    study: Study,
    samples: Samples,
    *,
    batch: int,
    tiles: int,
    image_px: int,
    threads: int = 2,
    part: Slice | None = None,
    features: Features | None = None,
    images: bool = True,
) -> Iterator[Batch]:
    """Each sample once, in order, with K evenly spaced tiles and no augmentation.

    Batches are padded with masked rows. Every process yields as many, see `eval_ends`.
    Without `images` no tile is read.
    """
    part, ends = part or Slice(), eval_ends(len(samples), batch)

    def load(index: int) -> Batch:
        places = ends[index] + np.arange(batch)[part.of(batch)]
        mask = places < ends[index + 1]
        numbers = np.where(mask, places, 0)
        batch_labels = labels(samples, numbers) | {"mask": mask}
        if not images:
            return batch_labels
        rows = samples.rows_at(numbers, spread(samples.counts_of(numbers), tiles))
        if features is not None:
            return batch_labels | {"embedding": features[rows]}
        records = study.tile_bytes(rows.reshape(-1))
        image = np.empty((*rows.shape, image_px, image_px, 3), np.uint8)
        flat = image.reshape(-1, image_px, image_px, 3)
        for i, row in enumerate(rows.reshape(-1)):
            flat[i] = centre_crop(decode_row(study, row, records[i]), image_px)
        return batch_labels | {"image": image}

    return read_ahead(len(ends) - 1, load, threads)


def eval_ends(samples: int, batch: int) -> Int[np.ndarray, "batches_plus_1"]:
    """Where batches begin and end: ceil(samples / batch) of equal size, to one sample.

    A last batch of one sample would have a loss that says nothing where samples are
    compared with each other: 1 of Pearson's, 0 of a contrastive one.
    """
    count = -(-samples // batch)
    return np.arange(count + 1) * samples // max(count, 1)


def tile_batches(
    study: Study,
    rows: Int[np.ndarray, "n"],
    *,
    batch: int,
    image_px: int,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
    threads: int = 2,
) -> Iterator[Batch]:
    """Tiles by row number as `image [B, H, W, 3] uint8` and `mask [B]`, padded.

    `prepare` brings a stored tile to `image_px`; None crops its centre.
    """
    prepare = prepare or functools.partial(centre_crop, px=image_px)

    def load(index: int) -> Batch:
        part = rows[index * batch : (index + 1) * batch]
        image = np.zeros((batch, image_px, image_px, 3), np.uint8)
        for i, data in enumerate(study.tile_bytes(part)):
            image[i] = prepare(decode_row(study, part[i], data))
        return {"image": image, "mask": np.arange(batch) < len(part)}

    return read_ahead(-(-len(rows) // batch), load, threads)


def spread(counts: Int[np.ndarray, "n"], tiles: int) -> Int[np.ndarray, "n K"]:
    """K places among each sample's tiles, evenly spaced; repeats when it has fewer."""
    return np.arange(tiles) * np.asarray(counts)[:, None] // tiles


def read_ahead(
    count: int, load: Callable[[int], Batch], threads: int
) -> Iterator[Batch]:
    """load(0), load(1), ... in order, prefetched by threads up to four ahead."""
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4)
    return iter(grain.MapDataset.range(count).map(load).to_iter_dataset(reading))
