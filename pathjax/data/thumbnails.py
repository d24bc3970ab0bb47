"""What a slide looks like as a whole, from its tiles: it may have been tiled anew.

    positions and shrunk tiles -> thumbnail -> looks -> near_looks -> pairs of slides

data/duplicates.py finds the same tile again; tiles of another grid, size or resolution
are other pictures, but make nearly the same thumbnail. Tissue is moved to the middle and
scaled to one size by its moments, since tilings differ in what they leave out at its
edge, and its outline is not compared: fields and cores have the same. Slides of few
tiles, or whose tiles have no positions, are like none. Nothing is refused here;
evals/audit.py does. docs/robustness.md has what was measured.
"""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from pathjax.data.duplicates import turned
from pathjax.data.study import Study
from pathjax.data.study_tables import stream

SIDE = 17
FEWEST = 30  # tiles at places of their own
NEAR = 0.6  # cosine of the looks of two slides
REACH = 1.9  # from the middle to a side of the thumbnail, in radii of gyration
TISSUE = 0.25  # of the darkness of dark tissue: what is less is glass
COVERED = 0.25  # of a cell has to be tissue
AT_ONCE = 1024


def thumbnail(
    xy: Float[np.ndarray, "n 2"], grey: Float[np.ndarray, "n 9 9"]
) -> Float[np.ndarray, "side side"]:
    """Mean darkness of a slide's tissue in SIDE x SIDE cells, NaN where there is none.

    Args:
      xy: Top left corners, in any unit. A tile is taken to reach to the next one.
      grey: `duplicates.shrunk`.

    Returns:
      All NaN where fewer than FEWEST tiles have a place of their own.
    """
    dark = np.clip(np.quantile(grey, 0.99) - grey, 0, None).ravel()
    dark[dark < TISSUE * np.quantile(dark, 0.95)] = 0
    places = np.unique(xy, axis=0)  # several tiles may have one
    if len(places) < FEWEST or not dark.any():
        return np.full((SIDE, SIDE), np.nan)
    nearest = KDTree(places).query(places, k=2, p=np.inf)[0][:, 1]
    # Not the median: of tiles drawn at random few have a neighbour.
    step = np.quantile(nearest, 0.1)
    inside = (np.arange(9) + 0.5) / 9 * step
    x = np.broadcast_to(xy[:, 0, None, None] + inside, grey.shape).ravel()
    y = np.broadcast_to(xy[:, 1, None, None] + inside[:, None], grey.shape).ravel()
    x, y = (values - np.average(values, weights=dark) for values in (x, y))
    reach = REACH * np.sqrt(np.average(x**2 + y**2, weights=dark))
    edges = np.linspace(-reach, reach, SIDE + 1)
    total, tissue, count = (
        np.histogram2d(y, x, edges, weights=weights)[0]
        for weights in (dark, dark > 0, None)
    )
    full = np.median(count[count > 0.2 * count.max()])
    return np.where(tissue >= COVERED * full, total / np.maximum(tissue, 1), np.nan)


def looks(
    thumbnails: Float[np.ndarray, "n side side"],
) -> Float[np.ndarray, "n d"]:
    """How much darker each cell is than those left of it and above it; of length 1.

    The signs of these differences are the hash of a tile; of slides their sizes count
    too. They are 0 at the edge of the tissue.
    """
    right = np.diff(thumbnails, axis=2)[:, 1:]
    down = np.diff(thumbnails, axis=1)[:, :, 1:]
    both = np.stack([right, down], axis=1).reshape(-1, 2 * (SIDE - 1) ** 2)
    both = np.nan_to_num(both)
    size = np.linalg.norm(both, axis=1, keepdims=True)
    return (both / np.where(size > 0, size, 1)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class SlideLooks:
    """A study's slides and what they look like.

    Attributes:
      of_tile: The slide of each tile, by number.
      slides: Numbers of the slides that have a thumbnail.
      looks: Of these in eight orientations.
      names: Of all slides.
    """

    of_tile: Int[np.ndarray, "n"]
    slides: Int[np.ndarray, "s"]
    looks: Float[np.ndarray, "8 s d"]
    names: list[str]


def slide_looks(study: Study, grey: Float[np.ndarray, "n 9 9"]) -> SlideLooks:
    """`looks` of a study's slides, from all its tiles, `duplicates.shrunk`."""
    number, names = pd.factorize(study.runs["slide_id"])
    of_tile = np.repeat(number, study.runs["tiles"])
    parts = stream(study.root / "tiles.parquet", ["x", "y"])
    xy = np.concatenate([part.to_pandas().to_numpy(np.float64) for part in parts])
    count = np.bincount(of_tile)
    rows = np.split(np.argsort(of_tile, kind="stable"), np.cumsum(count)[:-1])
    slides = np.flatnonzero(count >= FEWEST)
    made = [thumbnail(xy[rows[slide]], grey[rows[slide]]) for slide in slides]
    each = np.reshape(made, (-1, SIDE, SIDE))
    known = np.isfinite(each).any(axis=(1, 2))
    found = np.stack([looks(one) for one in turned(each[known])])
    return SlideLooks(of_tile, slides[known], found, list(names))


def near_looks(
    one: Float[np.ndarray, "8 n d"], other: Float[np.ndarray, "m d"]
) -> Int[np.ndarray, "p 2"]:
    """Pairs (row of one, row of other) whose cosine is at least NEAR in any orientation.

    All pairs are compared: slides are few.
    """
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, one.shape[1], AT_ONCE):
        for turn in one[:, start : start + AT_ONCE]:
            pairs = np.argwhere(turn @ other.T >= NEAR)
            pairs[:, 0] += start
            found.append(pairs)
    return np.unique(np.concatenate(found), axis=0)
