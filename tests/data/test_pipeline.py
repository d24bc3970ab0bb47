"""Batches: what is in them, in which order, and that a position is all their state."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pathjax.data.expression import fit_panel
from pathjax.data.images import decode_tile
from pathjax.data.pipeline import (
    MultiCrop,
    draw_tiles,
    eval_batches,
    eval_ends,
    spread,
    tile_batches,
    train_batches,
)
from pathjax.data.samples import gather
from pathjax.data.study import StudyError
from pathjax.data.transforms import Augment
from pathjax.parallel.slice import Slice


@pytest.fixture(scope="module")
def train(tiny_study):
    ids = tiny_study.samples["sample_id"].to_numpy()
    names = list(ids[tiny_study.fold_samples("main", "train")])
    panel = fit_panel(tiny_study.expression(), names, 5)
    return gather(tiny_study, "main", "train", panel=panel)


def iterate(study, samples, **options):
    defaults = {"batch": 4, "tiles": 2, "image_px": 24, "options": Augment(), "seed": 7}
    return train_batches(study, samples, **(defaults | options))


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_form_of_a_batch(tiny_study, train):
    batch = next(iterate(tiny_study, train))
    assert batch["image"].shape == (4, 2, 24, 24, 3)
    assert batch["image"].dtype == np.uint8
    assert batch["expression"].shape == (4, 5)
    assert batch["expression"].dtype == np.float32
    assert batch["mask"].all() and batch["pair_id"].dtype == np.int32
    assert batch["sample"].dtype == np.int32


def test_an_epoch_sees_each_sample_once_and_epochs_differ(tiny_study, train):
    iterator = iterate(tiny_study, train)
    seen = [next(iterator)["sample"] for _ in range(4)]  # 8 samples: two epochs
    first, second = np.concatenate(seen[:2]), np.concatenate(seen[2:])
    assert sorted(first) == sorted(second) == sorted(train.row)
    assert list(first) != list(second)


def test_state_is_a_position_and_resumes_exactly(tiny_study, train):
    iterator = iterate(tiny_study, train)
    for _ in range(3):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    wanted = [next(iterator) for _ in range(3)]
    again = iterate(tiny_study, train)
    again.set_state(state)
    assert all(equal(next(again), batch) for batch in wanted)


def test_a_batch_of_one_sample(tiny_study, train):
    """In the order of larger batches."""
    ones, four = iterate(tiny_study, train, batch=1), iterate(tiny_study, train)
    seen = [int(next(ones)["sample"][0]) for _ in range(8)]
    assert seen == [*next(four)["sample"], *next(four)["sample"]]


def test_threads_and_buffers_change_nothing(tiny_study, train):
    one = iterate(tiny_study, train, threads=1, buffer=1)
    many = iterate(tiny_study, train, threads=4, buffer=8)
    assert all(equal(next(one), next(many)) for _ in range(4))


def test_processes_share_out_the_same_global_batch(tiny_study, train):
    options = Augment(stain=0.1)
    whole = iterate(tiny_study, train, options=options)
    parts = [
        iterate(tiny_study, train, options=options, part=Slice(p, 2)) for p in (0, 1)
    ]
    for _ in range(3):
        batch, halves = next(whole), [next(part) for part in parts]
        joined = {k: np.concatenate([h[k] for h in halves]) for k in batch}
        assert equal(batch, joined)


def test_augmentation_differs_between_epochs_and_seeds(tiny_study, train):
    iterator = iterate(tiny_study, train, batch=8, tiles=6)
    by_epoch = []
    for _ in range(2):
        batch = next(iterator)
        by_epoch.append(batch["image"][np.argsort(batch["sample"])])
    assert not np.array_equal(*by_epoch)
    other = next(iterate(tiny_study, train, batch=8, tiles=6, seed=8))
    assert not np.array_equal(other["image"][np.argsort(other["sample"])], by_epoch[0])


def test_rows_of_a_batch_belong_together(tiny_study, train):
    """Image, expression and sample number of a row are of one patient."""
    batch = next(iterate(tiny_study, train, batch=8, tiles=2))
    latent = tiny_study.samples["latent"].to_numpy()[batch["sample"]]
    brightness = batch["image"].mean(axis=(1, 2, 3, 4))
    assert np.corrcoef(latent, brightness)[0, 1] > 0.99
    order = {row: i for i, row in enumerate(train.row)}
    for row, values in zip(batch["sample"], batch["expression"], strict=True):
        np.testing.assert_array_equal(values, train.expression[order[row]])


def test_multi_crop(tiny_study):
    samples = gather(tiny_study, "main", "train", unit="tile")
    options = MultiCrop(global_crops=2, local_crops=3, local_px=8)
    batch = next(iterate(tiny_study, samples, tiles=1, options=options))
    assert batch["crops_global"].shape == (4, 2, 24, 24, 3)
    assert batch["crops_local"].shape == (4, 3, 8, 8, 3)
    views = batch["crops_global"][0]
    assert not np.array_equal(views[0], views[1])


def test_crops_beside_images_are_of_each_samples_first_tile(tiny_study, train):
    """A crop of a whole tile without jitter is that tile, turned."""
    crops = MultiCrop(1, 1, 24, global_scale=(1.0, 1.0), stain=0.0)
    plain = Augment(flip=False)
    whole = {"image_px": tiny_study.tile_px, "options": plain}
    batch = next(iterate(tiny_study, train, crops=crops, **whole))
    alone = next(iterate(tiny_study, train, **whole))
    np.testing.assert_array_equal(batch["image"], alone["image"])
    assert batch["crops_local"].shape == (4, 1, 24, 24, 3)
    for tiles, view in zip(batch["image"], batch["crops_global"][:, 0], strict=True):
        assert np.array_equal(np.sort(view, axis=None), np.sort(tiles[0], axis=None))
        assert not np.array_equal(
            np.sort(view, axis=None), np.sort(tiles[1], axis=None)
        )


@pytest.mark.parametrize("size", [1, 3, 8, 9, 20])
def test_evaluation_sees_each_sample_once_and_pads(tiny_study, train, size):
    batches = list(eval_batches(tiny_study, train, batch=size, tiles=2, image_px=24))
    assert len(batches) == -(-8 // size)
    assert all(len(b["mask"]) == size for b in batches)
    seen = np.concatenate([b["sample"][b["mask"]] for b in batches])
    assert list(seen) == list(train.row)


def test_no_batch_of_an_evaluation_has_one_sample_beside_full_ones():
    """Its loss would be 1 of Pearson's and 0 of a contrastive one, whatever is learned."""
    for batch in range(3, 20):
        for samples in range(2, 100):
            sizes = np.diff(eval_ends(samples, batch))
            assert sizes.sum() == samples and len(sizes) == -(-samples // batch)
            assert sizes.min() >= 2 and sizes.max() <= min(batch, sizes.min() + 1)
    assert eval_ends(1, 4).tolist() == [0, 1] and eval_ends(0, 4).tolist() == [0]


def test_evaluation_on_two_processes_takes_equal_steps(tiny_study, train):
    parts = [
        list(
            eval_batches(
                tiny_study, train, batch=6, tiles=1, image_px=24, part=Slice(p, 2)
            )
        )
        for p in (0, 1)
    ]
    assert len(parts[0]) == len(parts[1]) == 2
    seen = [b["sample"][b["mask"]] for part in parts for b in part]
    assert sorted(np.concatenate(seen)) == sorted(train.row)


def test_tile_batches_are_the_tiles(tiny_study):
    rows = np.array([5, 0, 9])
    (batch,) = tile_batches(tiny_study, rows, batch=4, image_px=32)
    assert list(batch["mask"]) == [True, True, True, False]
    for image, data in zip(batch["image"], tiny_study.tile_bytes(rows), strict=False):
        assert np.array_equal(image, decode_tile(data))


def test_drawing_and_spreading():
    random = np.random.default_rng(0)
    assert sorted(draw_tiles(5, 5, random)) == [0, 1, 2, 3, 4]
    more = draw_tiles(5, 8, random)
    assert set(more) == {0, 1, 2, 3, 4} and len(more) == 8
    assert spread([5, 1], 3).tolist() == [[0, 1, 3], [0, 0, 0]]
    few_of_many = draw_tiles(10**12, 8, random)  # nothing of that size is made
    assert len(set(few_of_many)) == 8 and few_of_many.max() > 10**11


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32))
def test_places_are_drawn_as_an_array_of_rows_would_be(count, tiles, seed):
    """The batches of a run do not depend on how its tiles are kept."""
    rows = np.arange(100, 100 + count)
    random = np.random.default_rng(seed)
    if count >= tiles > 1 or count > tiles:
        wanted = random.choice(rows, tiles, replace=False)
    elif count == tiles == 1:
        wanted = rows
    else:
        extra = random.choice(rows, tiles - count)
        wanted = np.concatenate([random.permutation(rows), extra])
    found = draw_tiles(count, tiles, np.random.default_rng(seed))
    np.testing.assert_array_equal(100 + found, wanted)


def test_bad_sizes_are_refused(tiny_study, train):
    with pytest.raises(StudyError, match="image_px=64 is larger"):
        iterate(tiny_study, train, image_px=64)
    with pytest.raises(StudyError, match="does not divide over 3 processes: use 3"):
        iterate(tiny_study, train, part=Slice(0, 3))


def test_a_broken_tile_is_named(tiny_study, train, monkeypatch):
    monkeypatch.setattr(
        type(tiny_study), "tile_bytes", lambda self, rows: [b"\xff\xd8\xff"] * len(rows)
    )
    with pytest.raises(StudyError, match=r"tile P\d\d[ab]\d \(row \d+\) of study tiny"):
        next(iterate(tiny_study, train))
