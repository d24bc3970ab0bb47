"""Grids in micrometres and the noise on them."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from pathjax.datasets.demo.canvas import bilinear, canvas_of, fibres, lift, spline_taps


@pytest.mark.parametrize(
    ("tile_px", "mpp", "n"), [(64, 1.0, 128), (224, 0.5, 224), (32, 2.0, 128)]
)
def test_drawing_pixels_are_half_a_micrometre(tile_px, mpp, n):
    canvas = canvas_of(tile_px, mpp)
    assert canvas.n == n
    assert canvas.n == tile_px * canvas.oversampling
    assert canvas.side == tile_px * mpp


def test_lift_is_scipys_cubic_spline():
    n, step, scale = 40, 0.5, 3.0
    count, _, _ = spline_taps(n, step, scale)
    knots = np.random.default_rng(0).standard_normal((count, count), np.float32)
    # Coefficient k belongs to the B-spline that is centred on (k - 1) * scale.
    places = (np.arange(count + 4) - 3) * scale
    at = (np.arange(n) + 0.5) * step
    weights = BSpline.design_matrix(at, places, 3).toarray()
    np.testing.assert_allclose(
        lift(knots, n, step, scale), weights @ knots @ weights.T, atol=1e-5
    )


def test_smooth_reproduces_places():
    canvas = canvas_of(32, 1.0)
    y, x = canvas.knots
    plane = 2 * y - 3 * x + 1
    expected_y, expected_x = canvas.pixels
    np.testing.assert_allclose(
        canvas.smooth(plane), 2 * expected_y - 3 * expected_x + 1, atol=1e-3
    )


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_noise_has_unit_variance(scale):
    canvas, rng = canvas_of(64, 1.0), np.random.default_rng(0)
    fields = np.stack([canvas.noise(rng, scale) for _ in range(60)])
    assert abs(fields.mean()) < 0.05
    assert abs(fields.std() - 1) < 0.05


def test_noise_is_as_wide_as_asked():
    canvas, rng = canvas_of(64, 1.0), np.random.default_rng(0)

    def roughness(scale):
        return np.mean([np.diff(canvas.noise(rng, scale)).std() for _ in range(20)])

    # The slope falls as the features widen, in proportion.
    assert roughness(4.0) / roughness(8.0) == pytest.approx(2, rel=0.15)


def test_texture_runs_along_the_fibres():
    canvas, rng = canvas_of(64, 1.0), np.random.default_rng(0)
    direction = fibres(canvas, rng, 0.0)
    texture = direction.texture(canvas, rng, 30.0, 2.0)
    dy, dx = np.gradient(texture)
    sine, cosine = np.sin(direction.angle), np.cos(direction.angle)
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    assert across.std() > 4 * along.std()


def test_bilinear_meets_the_lattice():
    lattice = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    rows, columns = np.meshgrid([3.0, -1.0, 70.0], [0.0, 65.0, 12.0], indexing="ij")
    found = bilinear(lattice, rows, columns) / 1.6
    expected = lattice[rows.astype(int) % 64, columns.astype(int) % 64]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
