"""Loops over cells and all pairs are the oracle; a real section is tiled in two ways."""

import numpy as np
import pytest
from PIL import Image
from slide_copies import cut

from pathjax.data.duplicates import turned
from pathjax.data.thumbnails import (
    FEWEST,
    NEAR,
    looks,
    near_looks,
    slide_looks,
    thumbnail,
)


def places(across, step):
    return np.stack(np.meshgrid(*[np.arange(across) * step] * 2), -1).reshape(-1, 2)


def test_looks_are_differences_of_neighbours_that_both_have_tiles():
    rng = np.random.default_rng(0)
    made = rng.random((2, 17, 17))
    made[0, :, 12:] = np.nan
    made[1] = np.nan
    found = looks(made)
    expected = [
        0.0 if np.isnan(step := made[0, i, j] - made[0, i - di, j - dj]) else step
        for di, dj in ((0, 1), (1, 0))
        for i in range(1, 17)
        for j in range(1, 17)
    ]
    np.testing.assert_allclose(
        found[0], expected / np.linalg.norm(expected), rtol=1e-5, atol=1e-7
    )
    assert not found[1].any()


def test_a_thumbnail_is_the_mean_darkness_of_the_tissue_in_a_cell():
    rng = np.random.default_rng(1)
    xy, grey = places(20, 9.0), rng.uniform(50, 200, (400, 9, 9)).astype(np.float32)
    made = thumbnail(xy + 1000.0, grey)
    dark = np.clip(np.quantile(grey, 0.99) - grey, 0, None)
    dark[dark < 0.25 * np.quantile(dark, 0.95)] = 0
    whole = dark.reshape(20, 20, 9, 9).swapaxes(1, 2).reshape(180, 180)
    at = np.arange(180) + 0.5
    y, x = (at - (whole.sum(axis=axis) * at).sum() / whole.sum() for axis in (1, 0))
    reach = 1.9 * np.sqrt((whole * (y[:, None] ** 2 + x**2)).sum() / whole.sum())
    edges = np.linspace(-reach, reach, 18)
    for i, j in ((8, 8), (6, 10), (10, 5)):
        inside = np.ix_(
            (y >= edges[i]) & (y < edges[i + 1]), (x >= edges[j]) & (x < edges[j + 1])
        )
        part = whole[inside]
        np.testing.assert_allclose(made[i, j], part[part > 0].mean(), rtol=1e-4)
    assert np.isnan(made[0]).all() and np.isnan(made[:, 0]).all()


def test_tiles_may_share_a_place():
    rng = np.random.default_rng(2)
    xy, grey = places(8, 224.0), rng.uniform(50, 200, (64, 9, 9)).astype(np.float32)
    twice = thumbnail(np.r_[xy, xy], np.r_[grey, grey])
    np.testing.assert_allclose(twice, thumbnail(xy, grey), rtol=0.01)


@pytest.mark.parametrize("at_once", [1, 5, 1024])
def test_near_looks_finds_all_pairs_in_any_orientation(monkeypatch, at_once):
    monkeypatch.setattr("pathjax.data.thumbnails.AT_ONCE", at_once)
    rng = np.random.default_rng(2)
    one = rng.random((12, 17, 17))
    other = np.concatenate([rng.random((3, 17, 17)), one[[4, 7]]])
    other[3], other[4] = (
        np.rot90(other[3])[:, ::-1],
        other[4] + rng.random((17, 17)) / 9,
    )
    each = np.stack([looks(turn) for turn in turned(one)])
    found = near_looks(each, looks(other))
    expected = [
        [a, b]
        for a in range(12)
        for b in range(5)
        if max(float(each[turn, a] @ looks(other)[b]) for turn in range(8)) >= NEAR
    ]
    assert found.tolist() == expected == [[4, 3], [7, 4]]
    assert near_looks(each[:, :0], looks(other)).shape == (0, 2)


def test_slides_without_a_thumbnail_are_like_none(tiny_study):
    rng = np.random.default_rng(3)
    grey = rng.uniform(50, 200, (100, 9, 9)).astype(np.float32)
    few = FEWEST - 1
    for xy, tiles in (
        (places(10, 9.0)[:few], grey[:few]),
        (np.zeros((100, 2)), grey),  # no positions
        (places(10, 9.0), np.full_like(grey, 240.0)),
    ):
        assert np.isnan(thumbnail(xy, tiles)).all()
    assert np.isfinite(thumbnail(places(10, 9.0), grey)).any()
    found = slide_looks(tiny_study, rng.random((len(tiny_study), 9, 9)))
    assert len(found.slides) == 0 and found.looks.shape[:2] == (8, 0)
    assert len(found.names) == 24 and found.of_tile[:4].tolist() == [0, 0, 0, 1]


def test_a_real_section_tiled_anew_is_near_and_another_patients_is_not(real_data):
    images = []
    for name in ("C/C2/5714_HE_BT_C2", "B/B4/BT10737_D2_HE"):
        with Image.open(real_data / f"her2st/data/ST-imgs/{name}.jpg") as image:
            image.draft("RGB", (1000, 1000))
            images.append(np.asarray(image))
    section, anew, other = (
        thumbnail(*cut(image, 32, **options))
        for image, options in (
            (images[0], {}),
            (images[0], {"size": 1.4, "shift": (0.4, 0.4), "turn": True}),
            (images[1], {}),
        )
    )
    each = np.stack([looks(one) for one in turned(section[None])])
    assert near_looks(each, looks(np.stack([anew, other]))).tolist() == [[0, 0]]
