import numpy as np

from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.survey import otsu, survey


def test_blocks_of_texture_are_tissue_and_the_rest_is_background():
    image = np.full((640, 960, 3), (230, 225, 228), np.uint8)
    noise = np.random.default_rng(0).integers(60, 200, (320, 480, 3), np.uint8)
    image[160:480, 320:800] = noise
    found = survey(ImageSource.of_array(image), mpp=1.0)
    assert found.block == 16 and found.spread.shape == (40, 60)
    expected = np.zeros((40, 60), bool)
    expected[10:30, 20:50] = True
    np.testing.assert_array_equal(found.tissue, expected)
    assert found.background.tolist() == [230, 225, 228]
    np.testing.assert_allclose(
        found.colour[12, 25], image[192:208, 400:416].mean(axis=(0, 1)), rtol=1e-4
    )
    places = found.blocks_at(np.array([[0.0, 15.9], [959.0, 639.0], [-1.0, 5.0]]))
    assert places.tolist() == [[0, 0], [39, 59], [-1, -1]]


def test_a_large_image_is_read_in_pieces():
    image = np.random.default_rng(0).integers(0, 255, (2100, 4300, 3), np.uint8)
    found = survey(ImageSource.of_array(image), mpp=1.0)
    green = image[2032:2048, 4192:4208, 1].astype(float)
    assert abs(found.spread[127, 262] - green.std()) < 1e-3
    assert found.thumbnail.shape[1] * 4 >= 4300 and found.thumbnail_scale == 1 / 4


def test_otsu_finds_the_best_of_all_thresholds():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(2, 0.5, 4000), rng.normal(6, 0.8, 700)])

    def between(t):
        low, high = values[values <= t], values[values > t]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    tried = np.linspace(values.min(), values.max(), 2000)[1:-1]
    best = max(between(t) for t in tried)
    assert between(otsu(values)) > 0.999 * best  # bins cost a little
    assert between(otsu(values, 4)) < 0.999 * best


def test_otsu_of_two_separate_clusters_lies_between_them():
    values = np.concatenate([np.full(100_000, 1.0), np.linspace(5, 6, 500)])
    assert 1.5 < otsu(values) < 5
