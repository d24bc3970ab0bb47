"""Where cells are, against brute force; nuclei have their size at any pixel size."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from pathjax.datasets.demo.canvas import canvas_of
from pathjax.datasets.demo.cells import (
    MARGIN_UM,
    Look,
    bodies,
    borders,
    draw_nuclei,
    joined,
    lattice,
    nuclei,
)

CANVAS = canvas_of(64, 1.0)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_lattice_has_the_asked_density_and_covers_the_margin():
    points = np.concatenate([lattice(CANVAS, rng(i), 8.0) for i in range(20)])
    # A hexagonal lattice of spacing s has one point per s² * sqrt(3) / 2.
    expected = 20 * (64 + 2 * MARGIN_UM) ** 2 / (64 * 0.866)
    assert abs(len(points) / expected - 1) < 0.05
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


EVEN = Look(8.0, 0.0, 1.0, 1.0, vesicle=0.0, chromatin=0.0, outline=0.0)


def draw(place, *, mpp=1.0, tile_px=64, angle=None, **changes):
    rng, look = np.random.default_rng(0), EVEN._replace(**changes)
    cells = nuclei(rng, np.array(place, np.float32), look, angle)
    even = np.full(len(cells), look.vesicle, np.float32)
    cells = dataclasses.replace(cells, vesicle=even)  # without its own variation
    canvas = canvas_of(tile_px, mpp)
    return canvas, cells, *draw_nuclei(canvas, rng, cells)


@pytest.mark.parametrize(
    ("mpp", "tile_px"), [(1.0, 64), (0.5, 128), (0.25, 256), (2.0, 32)]
)
@pytest.mark.parametrize("elongation", [1.0, 2.5])
def test_area_is_that_of_the_ellipse(mpp, tile_px, elongation):
    canvas, cells, _, cover = draw(
        [[32.2, 20.7]], mpp=mpp, tile_px=tile_px, elongation=elongation
    )
    axes = float(cells.length[0]), float(cells.width[0])
    assert axes[0] * axes[1] == pytest.approx(4.0**2, rel=1e-5)
    assert cover.sum() * canvas.step**2 == pytest.approx(np.pi * 16, rel=0.05)


def test_centre_and_direction():
    canvas, cells, _, cover = draw(
        [[30.0, 22.0]], elongation=3.0, angle=np.array([0.6])
    )
    y, x = canvas.pixels
    mass = cover.sum()
    cy, cx = (cover * y).sum() / mass, (cover * x).sum() / mass
    assert (cy, cx) == pytest.approx((30.0, 22.0), abs=0.1)
    dy, dx = y - cy, x - cx
    moments = [(cover * a * b).sum() for a, b in ((dx, dx), (dx, dy), (dy, dy))]
    angle = 0.5 * np.arctan2(2 * moments[1], moments[0] - moments[2])
    assert angle == pytest.approx(0.6, abs=0.05)
    assert float(cells.length[0]) > float(cells.width[0])


def test_stain_is_the_concentration_times_the_cover():
    _, cells, haem, cover = draw([[32.0, 32.0]], haem=1.3)
    np.testing.assert_allclose(haem, cover * cells.haem[0], atol=1e-5)


def test_overlap_is_darker_than_one_and_lighter_than_both():
    _, _, alone, _ = draw([[32.0, 32.0]])
    _, _, both, cover = draw([[32.0, 32.0], [32.0, 34.0]])
    assert both.max() > 1.1 * alone.max() and both.max() < 1.9 * alone.max()
    assert cover.max() <= 1


def test_at_the_edge_and_outside():
    _, _, _, half = draw([[0.0, 32.0]])
    _, _, _, whole = draw([[32.0, 32.0]])
    assert half.sum() == pytest.approx(whole.sum() / 2, rel=0.05)
    _, _, _, none = draw([[-9.0, 32.0]])
    assert none.sum() == 0


def test_no_nuclei():
    _, _, haem, cover = draw(np.zeros((0, 2)))
    assert haem.shape == (128, 128) and haem.sum() == cover.sum() == 0


def test_a_vesicular_nucleus_is_pale_within():
    _, _, haem, _ = draw([[32.0, 32.0]], diameter=11.0, vesicle=0.7)
    ring, middle = haem[64, 64 - 10 : 64 + 10].max(), haem[62:66, 62:66].mean()
    assert middle < 0.6 * ring


def test_changed_keeps_places_and_joined_keeps_order():
    rng = np.random.default_rng(0)
    place = np.arange(8, dtype=np.float32).reshape(4, 2)
    small = nuclei(rng, place, EVEN._replace(diameter=4.0))
    large = nuclei(rng, place + 50, EVEN._replace(diameter=9.0))
    mixed = small.changed(np.array([True, False, False, True]), large)
    np.testing.assert_array_equal(mixed.place, place)
    np.testing.assert_allclose(mixed.length, [4.5, 2, 2, 4.5], rtol=1e-6)
    np.testing.assert_allclose(joined([small, large]).length, [2] * 4 + [4.5] * 4)
