"""The grid and tissue shares, against loops; lots that do not depend on chance."""

import math

import numpy as np
import pytest

from pathjax.wsi.base import SlideError
from pathjax.wsi.grid import grid, sample_places, tissue_share


@pytest.mark.parametrize("stride", [100.0, 73.3, 224.449])
@pytest.mark.parametrize(
    "bounds", [(0, 0, 1000, 700), (37, 11, 449, 450), (0, 0, 100, 500)]
)
def test_grid_is_all_tiles_within_row_by_row(bounds, stride):
    left, top, width, height = bounds
    expected = []
    for j in range(20):
        for i in range(20):
            x, y = math.floor(i * stride + 0.5), math.floor(j * stride + 0.5)
            if x + 100 <= width and y + 100 <= height:
                expected.append((left + x, top + y))
    np.testing.assert_array_equal(
        grid(bounds, stride, 100.0), np.array(expected).reshape(-1, 2)
    )


def test_an_area_smaller_than_a_tile_is_refused():
    """Which is another cause than that no tissue was found."""
    with pytest.raises(SlideError, match="99 x 500 px is smaller than a tile, which"):
        grid((0, 0, 99, 500), 100.0, 100.0)


def test_tissue_share_counts_parts_of_pixels():
    """Against a mask blown up 10 times, whose pixels then lie whole within tiles."""
    rng = np.random.default_rng(0)
    mask = rng.random((30, 40)) < 0.5
    fine = np.kron(mask, np.ones((10, 10)))
    scale = 20.0  # level-0 pixels per mask pixel; 2 per pixel of the fine one
    places = 2 * rng.integers(0, (330, 230), (50, 2))
    shares = tissue_share(mask, scale, places, 140.0)
    expected = [fine[y : y + 70, x : x + 70].mean() for x, y in places // 2]
    np.testing.assert_allclose(shares, expected, atol=1e-9)


def test_tissue_share_of_all_and_none_are_exact():
    places = grid((0, 0, 640, 480), 33.3, 50.0)
    assert (
        tissue_share(np.ones((60, 80), bool), 8.0, places, 50.0) == 1.0
    ).mean() > 0.9
    assert (tissue_share(np.zeros((60, 80), bool), 8.0, places, 50.0) == 0.0).all()


def test_lots_are_a_fixed_random_subset_in_order():
    places = grid((0, 0, 5000, 5000), 100.0, 100.0)
    some = sample_places(places, 200, "A", 0)
    assert len(some) == 200
    np.testing.assert_array_equal(some, sample_places(places, 200, "A", 0))
    index = {tuple(place): k for k, place in enumerate(places.tolist())}
    order = [index[tuple(place)] for place in some.tolist()]
    assert order == sorted(order)
    # Spread over the slide, not its first rows.
    assert 0.4 < np.mean(order) / len(places) < 0.6
    fewer = {tuple(place) for place in sample_places(places, 50, "A", 0).tolist()}
    assert fewer <= {tuple(place) for place in some.tolist()}
    for other in (
        sample_places(places, 200, "B", 0),
        sample_places(places, 200, "A", 1),
    ):
        assert (
            len({tuple(p) for p in other.tolist()} - set(map(tuple, some.tolist())))
            > 100
        )
    np.testing.assert_array_equal(sample_places(places, 2500, "A", 0), places)
