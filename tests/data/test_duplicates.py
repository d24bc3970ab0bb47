"""All pairs compared one by one are the oracle; Pillow changes the pictures."""

import numpy as np
import pytest
from PIL import Image

from pathjax.data.duplicates import (
    FLAT,
    MOST_BITS,
    difference_hash,
    near_pairs,
    picture_hashes,
    shrink,
    shrunk,
    turned,
)
from pathjax.data.images import decode_tile, encode_jpeg


def pictures(count, seed=0, side=64):
    """Smooth random pictures, as tissue is."""
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 220, (count, 11, 11, 3), np.uint8)
    return [
        np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC))
        for one in small
    ]


def hashes(tiles):
    return difference_hash(np.stack([shrink(one) for one in tiles]).mean(axis=-1))[0]


def bits(one, other):
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return sum((a ^ b).bit_count() for a, b in pairs)


def test_changed_copies_are_found_and_other_pictures_are_not():
    tiles = pictures(200)
    copies = [decode_tile(encode_jpeg(one, 50)) for one in tiles[:50]]
    copies += [
        np.asarray(Image.fromarray(one).resize((48, 48))) for one in tiles[50:100]
    ]
    copies += [np.clip(one * 0.9 + 12, 0, 255).astype(np.uint8) for one in tiles[100:]]
    found = near_pairs(hashes(tiles), hashes(copies))
    assert len(found) >= 0.9 * 200
    assert (found[:, 0] == found[:, 1]).all()


@pytest.mark.parametrize("at_once", [1, 50, 1 << 20])
def test_pairs_of_up_to_three_bits_are_never_missed(monkeypatch, at_once):
    monkeypatch.setattr("pathjax.data.duplicates.PAIRS_AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    one = rng.integers(0, 2**63, (60, 2), np.uint64)
    flips = rng.integers(0, 12, 300)
    source = rng.integers(0, 60, 300)
    other = one[source].copy()
    for row, count in enumerate(flips):
        for bit in rng.permutation(128)[:count]:
            other[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    found = {tuple(pair) for pair in near_pairs(one, other).tolist()}
    near = {
        (a, b): distance
        for a in range(60)
        for b in range(300)
        if (distance := bits(one[a], other[b])) <= MOST_BITS
    }
    assert (
        {pair for pair, distance in near.items() if distance <= 3} <= found <= set(near)
    )


def test_tiles_without_structure_are_told(tiny_study):
    flat = np.full((1, 9, 9), 240.0) + np.arange(9) * FLAT / 20
    assert not difference_hash(flat)[1][0]
    grey = shrunk(tiny_study)
    assert grey.shape == (len(tiny_study), 9, 9)
    found, _ = picture_hashes(grey)
    assert found.shape == (8, len(tiny_study), 2)
    tiles = [decode_tile(data) for data in tiny_study.tile_bytes([3, 4])]
    assert (hashes(tiles) == found[0, 3:5]).all()


def test_a_turned_or_mirrored_copy_has_one_of_the_eight_hashes():
    tiles = pictures(40)
    grey = np.stack([shrink(one) for one in tiles]).mean(axis=-1)
    each = [difference_hash(one)[0] for one in turned(grey)]
    flips = Image.Transpose
    for flip in (None, *flips):
        images = [Image.fromarray(one) for one in tiles]
        changed = hashes(
            [np.asarray(i if flip is None else i.transpose(flip)) for i in images]
        )
        found = [near_pairs(one, changed) for one in each]
        (place,) = [n for n, pairs in enumerate(found) if len(pairs)]
        assert (found[place][:, 0] == found[place][:, 1]).all()
        assert len(found[place]) == 40
