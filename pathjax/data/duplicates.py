"""The same tissue under another name: tiles whose pictures are nearly alike.

    study -> shrunk -> picture_hashes -> 8 times 128 bits a tile -> near_pairs -> pairs

A difference hash says where a picture shrunk to 9 x 9 gets brighter to the right and
downwards (Krawetz 2013, "Kind of Like That"). It stands other compression, size and
brightness, and not shifting: thumbnails.py compares slides that were tiled anew. A tile
has a hash for each of the eight ways to turn and mirror it. Tiles without structure
(background) are left out, for all of them look alike. Nothing is refused here;
evals/audit.py does.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8, UInt64
from PIL import Image

from pathjax.data.study import Study
from pathjax.data.tile_source import StudyTiles

SIDE = 9
BATCH = 512
MOST_BITS = 8  # that may differ of 128; pairs of up to 3 are found for certain
# Neighbouring bits are alike: in a random order, the same for all, bands are more varied.
ORDER = np.random.default_rng(0).permutation(128)
FLAT = 4.0  # grey levels: the spread of a shrunk tile below which it has no structure
PAIRS_AT_ONCE = 1 << 22


def shrink(tile: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "9 9 3"]:
    """Means of blocks."""
    small = Image.fromarray(tile).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small)


def difference_hash(
    grey: Float[np.ndarray, "n 9 9"],
) -> tuple[UInt64[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
    """128 bits of each picture, and whether it has structure.

    Args:
      grey: Shrunk tiles.
    """
    right = grey[:, :8, 1:] > grey[:, :8, :-1]
    down = grey[:, 1:, :8] > grey[:, :-1, :8]
    bits = np.stack([right, down], axis=1).reshape(len(grey), 128)[:, ORDER]
    packed = np.ascontiguousarray(np.packbits(bits, axis=-1)).view(np.uint64)
    return packed, grey.reshape(len(grey), -1).std(axis=1) >= FLAT


def turned(
    grey: Float[np.ndarray, "n side side"],
) -> Iterator[Float[np.ndarray, "n side side"]]:
    """By no, one, two and three quarters of a turn, then the same mirrored."""
    for side in (grey, grey[:, :, ::-1]):
        for k in range(4):
            yield np.rot90(side, k, axes=(1, 2))


def shrunk(study: Study) -> Float[np.ndarray, "n 9 9"]:
    """Grey means of all tiles of a study; each is read once."""
    rows = np.arange(len(study))
    parts = StudyTiles(study).batches(rows, batch=BATCH, px=SIDE, prepare=shrink)
    grey = [part["image"][part["mask"]].mean(-1, dtype=np.float32) for part in parts]
    return np.concatenate(grey)


def picture_hashes(
    grey: Float[np.ndarray, "n 9 9"],
) -> tuple[UInt64[np.ndarray, "8 n 2"], Bool[np.ndarray, "n"]]:
    """`difference_hash` of `shrunk` tiles as they are and `turned`."""
    hashes, structured = zip(*map(difference_hash, turned(grey)), strict=True)
    return np.stack(hashes), structured[0]


def near_pairs(
    one: UInt64[np.ndarray, "n 2"], other: UInt64[np.ndarray, "m 2"]
) -> Int[np.ndarray, "p 2"]:
    """Pairs (row of one, row of other) that differ in at most MOST_BITS bits.

    Only those are compared that agree in one of four bands of 32 bits, so that time does
    not grow with n times m. By the pigeonhole principle no pair of up to 3 bits is missed;
    of those with more, the ones that have a band without any.
    """
    bands, known = one.view(np.uint32), other.view(np.uint32)
    found = [np.zeros((0, 2), np.int64)]
    for band in range(bands.shape[1]):
        order = np.argsort(bands[:, band], kind="stable")
        keys = bands[order, band]
        start = np.searchsorted(keys, known[:, band])
        count = np.searchsorted(keys, known[:, band], side="right") - start
        ends = np.cumsum(count)
        for block in _blocks(ends):
            sizes = count[block]
            right = np.repeat(np.arange(block.start, block.stop), sizes)
            inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            left = order[np.repeat(start[block], sizes) + inside]
            bits = np.bitwise_count(one[left] ^ other[right]).sum(axis=1)
            near = bits <= MOST_BITS
            found.append(np.stack([left[near], right[near]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _blocks(ends: Int[np.ndarray, "m"]):
    """Ranges of rows with about PAIRS_AT_ONCE pairs each, at least one row."""
    first, done = 0, 0
    while first < len(ends):
        last = int(np.searchsorted(ends, done + PAIRS_AT_ONCE, side="right"))
        last = min(max(last, first + 1), len(ends))
        yield slice(first, last)
        first, done = last, int(ends[last - 1])
