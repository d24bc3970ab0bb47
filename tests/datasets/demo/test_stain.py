"""Beer-Lambert mixing, sites and the scanner."""

import numpy as np
import pytest

from pathjax.datasets.demo.stain import (
    EOSIN,
    HAEMATOXYLIN,
    SITES,
    sample_scanner,
    scan,
    transmit,
)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.code)
def test_mixing_is_invertible_to_the_concentrations(site):
    random = rng()
    scanner = sample_scanner(random, site)
    expected = random.uniform(0, 2, (2, 16, 16))
    matrix, white = scanner.matrix.astype(float), scanner.white.astype(float)
    light = transmit(expected[0], expected[1], matrix, white)
    density = -np.log(light / white).reshape(-1, 3)
    found, _, rank, _ = np.linalg.lstsq(matrix.T, density.T, rcond=None)
    assert rank == 2
    np.testing.assert_allclose(found.reshape(2, 16, 16), expected, atol=1e-9)
    assert np.linalg.cond(matrix) < 6  # far enough apart to unmix noisy images


def test_transmit_is_the_matrix_product():
    concentration = rng().uniform(0, 2, (5, 7, 2))
    matrix, white = rng().uniform(0, 1, (2, 3)), np.array([240.0, 250.0, 230.0])
    np.testing.assert_allclose(
        transmit(concentration[..., 0], concentration[..., 1], matrix, white),
        white * np.exp(-concentration @ matrix),
    )


def test_sites_keep_near_ruifrok_and_johnston():
    for site in SITES:
        for centre, offset in (
            (HAEMATOXYLIN, site.haematoxylin),
            (EOSIN, site.eosin),
        ):
            vector = np.add(centre, offset)
            cosine = vector @ centre / np.linalg.norm(vector) / np.linalg.norm(centre)
            assert cosine > 0.88, site.code
    assert sum(site.share for site in SITES) == pytest.approx(1)
    assert len({site.code for site in SITES}) == len(SITES) == 6


def test_slides_of_a_site_differ_less_than_sites():
    random = rng()
    slides = np.array(
        [[sample_scanner(random, s).matrix.ravel() for _ in range(50)] for s in SITES]
    )
    within = slides.var(axis=1).sum(axis=1).mean()
    between = slides.mean(axis=1).var(axis=0).sum()
    assert between > 2 * within > 0


@pytest.mark.parametrize("oversampling", [1, 2, 3])
def test_scan_of_even_tissue_is_even(oversampling):
    scanner = sample_scanner(rng(), SITES[0])
    n = 20 * oversampling
    fields = np.full((2, n, n), 0.5, np.float32)
    rgb = scan(fields[0], fields[1], scanner, rng(), oversampling=oversampling, mpp=1.0)
    assert rgb.shape == (20, 20, 3) and rgb.dtype == np.uint8
    density = (0.5 * scanner.gain) @ scanner.matrix
    expected = scanner.white * np.exp(-density)
    np.testing.assert_allclose(rgb.mean((0, 1)), expected, atol=0.5)


def test_scan_averages_light_not_stain():
    scanner = sample_scanner(rng(), SITES[0])
    haem = np.zeros((40, 40), np.float32)
    haem[:, ::2] = 2.0
    rgb = scan(haem, 0 * haem, scanner, rng(), oversampling=2, mpp=1.0)
    dark = scanner.white * np.exp(-2.0 * scanner.gain[0] * scanner.matrix[0])
    np.testing.assert_allclose(rgb.mean((0, 1)), (dark + scanner.white) / 2, atol=0.7)
