"""Augmentation: shapes, determinism, and that it does what its name says."""

import numpy as np
import pytest

from pathjax.data.transforms import (
    STAINS,
    UNMIX,
    Augment,
    augment,
    centre_crop,
    flip,
    jitter_stain,
    place,
    scaled_crop,
)


def tile(px=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (px, px, 3)).astype(np.uint8)


def test_without_turns_there_are_four_symmetries():
    source = np.arange(3 * 3 * 3, dtype=np.uint8).reshape(3, 3, 3)
    random = np.random.default_rng(0)
    got = {
        np.ascontiguousarray(flip(source, random, turn=False)).tobytes()
        for _ in range(100)
    }
    mirrored = (source, source[::-1], source[:, ::-1], source[::-1, ::-1])
    assert got == {np.ascontiguousarray(one).tobytes() for one in mirrored}


def test_flip_gives_all_eight_symmetries_and_nothing_else():
    source = tile(4)
    wanted = {np.rot90(s, k).tobytes() for s in (source, source[:, ::-1])
              for k in range(4)}  # fmt: skip
    random = np.random.default_rng(0)
    got = {np.ascontiguousarray(flip(source, random)).tobytes() for _ in range(200)}
    assert got == wanted and len(wanted) == 8


def test_centre_crop():
    source = tile(10)
    assert np.array_equal(centre_crop(source, 4), source[3:7, 3:7])
    assert np.array_equal(centre_crop(source, 10), source)
    with pytest.raises(ValueError, match="at least 11 px, got 10 x 10"):
        centre_crop(source, 11)


def test_stains_are_unit_vectors_and_unmixing_inverts_them():
    np.testing.assert_allclose(np.linalg.norm(STAINS, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(STAINS @ UNMIX, np.eye(3), atol=1e-5)


def test_no_jitter_changes_nothing():
    source = tile()
    assert np.array_equal(jitter_stain(source, 0.0, np.random.default_rng(0)), source)


def test_jitter_scales_concentrations_as_beer_and_lambert_say():
    class Fixed:  # scale 1.1, 0.9, 1.0 and no shift
        def __init__(self):
            self.calls = iter([[0.1, -0.1, 0.0], [0.0, 0.0, 0.0]])

        def uniform(self, low, high, size):
            return np.array(next(self.calls))

    concentration = np.array([[0.5, 0.3, 0.0]])
    pixel = 256 * np.exp(-concentration @ STAINS) - 1
    wanted = 256 * np.exp(-concentration * [1.1, 0.9, 1.0] @ STAINS) - 1
    got = jitter_stain(np.rint(pixel).astype(np.uint8)[None], 0.1, Fixed())
    assert np.abs(got[0].astype(float) - wanted).max() <= 1.5  # 8-bit rounding


def test_scaled_crop_of_a_constant_is_constant_and_within_scale():
    flat = np.full((50, 50, 3), 77, np.uint8)
    got = scaled_crop(flat, 20, (0.2, 0.8), np.random.default_rng(0))
    assert got.shape == (20, 20, 3) and (got == 77).all()
    ramp = np.repeat(np.arange(100, dtype=np.uint8)[None, :, None], 100, 0)
    ramp = np.repeat(ramp, 3, axis=2)
    spans = []
    for seed in range(100):
        cut = scaled_crop(ramp, 10, (0.25, 0.64), np.random.default_rng(seed))
        spans.append(int(cut.max()) - int(cut.min()))
    assert min(spans) >= 40 and max(spans) <= 80  # 0.9 of sides 50 to 80


@pytest.mark.parametrize("options", [Augment(), Augment(stain=0.2, min_scale=0.5)])
def test_augment_is_a_function_of_its_generator(options):
    source = tile(48)
    a = augment(source, 32, options, np.random.default_rng(5))
    b = augment(source, 32, options, np.random.default_rng(5))
    c = augment(source, 32, options, np.random.default_rng(6))
    assert a.shape == (32, 32, 3) and a.dtype == np.uint8
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_augment_leaves_its_input_alone():
    source = tile(48)
    kept = source.copy()
    augment(source, 48, Augment(stain=0.3), np.random.default_rng(0))
    assert np.array_equal(source, kept)


def test_place_copies_every_symmetry():
    source, random, seen = tile(9)[1:8, 2:9], np.random.default_rng(0), set()
    for _ in range(100):
        view, out = flip(source, random), np.zeros((7, 7, 3), np.uint8)
        place(view, out)
        assert np.array_equal(out, view)
        seen.add(out.tobytes())
    assert len(seen) == 8
