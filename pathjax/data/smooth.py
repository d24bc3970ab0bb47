"""Blends the expression of training spots with that of their neighbours.

    x' = (1 - weight) x + weight * mean of the neighbours' x

as SEAL does to lessen the noise of single spots (arXiv:2602.14177: weight 0.5, neighbours
within sqrt 2 of the array's pitch). Neighbours are spots of the same slide and the same
fold. Only targets of training are blended, never those of validation or test. SEAL
blends counts before it normalises them; here it is the z-scores, whose statistics are
those of the spots as measured.
"""

import dataclasses

import numpy as np
import scipy.sparse
from jaxtyping import Float
from scipy.spatial import cKDTree

from pathjax.data.samples import Samples
from pathjax.data.study import Study, StudyError
from pathjax.data.variance import groups_of

RADIUS = np.sqrt(2)  # in pitches of the array
SLACK = 1.05  # spots are placed in pixels, which are whole
ARRAY = ("array_row", "array_col")
PIXELS = ("pixel_x", "pixel_y")


def smooth(samples: Samples, study: Study, weight: float) -> Samples:
    """The samples of a training fold with blended `expression`.

    Places are those of the array (`array_row` and `array_col`), or else pixels in units
    of the slide's median distance between nearest spots. A spot without neighbours stays
    as it is, as do genes that were measured in none of them.

    Raises:
      StudyError: Samples have no place, or several share one.
    """
    assert samples.expression is not None
    table = study.samples.iloc[samples.row].reset_index(drop=True)
    slides = groups_of(study, table["sample_id"])["slide"].to_numpy()
    links = _links(table, slides)
    x = samples.expression
    known = np.ones(x.shape, bool) if samples.measured is None else samples.measured
    count = links @ known.astype(np.float32)
    mean = links @ np.where(known, x, 0) / np.maximum(count, 1)
    blended = np.where((count > 0) & known, (1 - weight) * x + weight * mean, x)
    return dataclasses.replace(samples, expression=blended.astype(np.float32))


def _links(table, slides) -> scipy.sparse.csr_matrix:
    """1 where two samples are neighbours, on no diagonal."""
    rows, columns = [], []
    for slide in np.unique(slides):
        inside = np.flatnonzero(slides == slide)
        pairs = _pairs(_places(table.iloc[inside], slide), slide)
        rows += [inside[pairs[:, 0]], inside[pairs[:, 1]]]
        columns += [inside[pairs[:, 1]], inside[pairs[:, 0]]]
    row, column = np.concatenate(rows), np.concatenate(columns)
    ones = np.ones(len(row), np.float32)
    return scipy.sparse.csr_matrix((ones, (row, column)), (len(table), len(table)))


def _places(table, slide: str) -> Float[np.ndarray, "n 2"]:
    """Of one slide's samples, in pitches of its array."""
    for names in (ARRAY, PIXELS):
        if not set(names) <= set(table):
            continue
        places = table[list(names)].to_numpy(np.float64)
        if not np.isfinite(places).all():
            continue
        if names == PIXELS and len(places) > 1:
            nearest = cKDTree(places).query(places, 2)[0][:, 1]
            places = places / max(float(np.median(nearest)), 1e-9)
        return places
    raise StudyError(
        f"data.smooth needs the place of each spot, and samples of slide {slide} have "
        "neither array_row and array_col nor pixel_x and pixel_y: set data.smooth=0"
    )


def _pairs(places, slide: str):
    """Rows `[p, 2]` of neighbours."""
    if len(np.unique(places, axis=0)) < len(places):
        raise StudyError(
            f"data.smooth needs spots, and several samples of slide {slide} are at one "
            "place: set data.smooth=0, or data.unit=sample"
        )
    return cKDTree(places).query_pairs(RADIUS * SLACK, output_type="ndarray")
