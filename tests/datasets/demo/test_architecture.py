"""Where cells lie, against brute force."""

import numpy as np
from scipy.spatial import cKDTree

from pathjax.datasets.demo.architecture import MARGIN_UM, bodies, borders, lattice
from pathjax.datasets.demo.canvas import canvas_of

CANVAS = canvas_of(64, 1.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_lattice_has_the_asked_density_and_covers_the_margin():
    points = np.concatenate([lattice(CANVAS, rng(i), 8.0) for i in range(20)])
    # A hexagonal lattice of spacing s has one point per s² * sqrt(3) / 2.
    wanted = 20 * (64 + 2 * MARGIN_UM) ** 2 / (64 * 0.866)
    assert abs(len(points) / wanted - 1) < 0.05
    assert points.min() < -MARGIN_UM + 2 and points.max() > 64 + MARGIN_UM - 2


def test_lattice_without_jitter_keeps_its_distance():
    points = lattice(CANVAS, rng(), 8.0, jitter=0.0)
    distance, _ = cKDTree(points).query(points, k=2)
    assert distance[:, 1].min() > 7.9


def test_borders_are_those_of_a_search_tree():
    points = lattice(CANVAS, rng(), 9.0)
    nearest, gap, owner = borders(CANVAS, points)
    y, x = CANVAS.knots
    places = np.stack(np.broadcast_arrays(y, x), axis=-1).reshape(-1, 2)
    distance, index = cKDTree(points).query(places, k=2)
    np.testing.assert_allclose(nearest.ravel(), distance[:, 0], atol=1e-3)
    np.testing.assert_allclose(gap.ravel(), distance[:, 1] - distance[:, 0], atol=2e-3)
    assert (owner.ravel() == index[:, 0]).mean() > 0.999


def test_no_or_one_point_has_no_border():
    for count in (0, 1):
        _, gap, owner = borders(CANVAS, np.zeros((count, 2), np.float32))
        assert gap.min() > 100 and not owner.any()


def test_ring_lies_at_its_depth_and_looks_to_the_centre():
    glands = bodies(CANVAS, rng(), radius=20, gap=10, stretch=1.0, warp=0.0)
    place, angle, owner = glands.ring(CANVAS, rng(1), 5.0, 6.0, 0.0)
    assert len(place) > 20
    depth, _ = glands.depth(CANVAS)
    inside = ((place > 0) & (place < 64)).all(axis=1)
    assert np.abs(CANVAS.at(depth, place[inside]) - 5).max() < 1.0  # nearest knot
    away = place - glands.centre[owner]
    np.testing.assert_allclose(
        np.cos(angle), away[:, 1] / np.linalg.norm(away, axis=1), atol=1e-3
    )


def test_ring_leaves_out_what_another_body_covers():
    glands = bodies(CANVAS, rng(), radius=24, gap=-14, stretch=1.0, warp=0.0)
    place, _, _ = glands.ring(CANVAS, rng(1), 5.0, 6.0, 0.0)
    deepest = glands.depths(place[:, :1], place[:, 1:]).max(axis=1)
    assert deepest.max() < 6.01
