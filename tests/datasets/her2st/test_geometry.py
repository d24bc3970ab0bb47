import numpy as np
import pandas as pd
import pytest

from pathjax.datasets.her2st.geometry import fit_pitch, frame_size, image_scale
from pathjax.datasets.her2st.source import find_sections, read_spots
from pathjax.datasets.spatial.sample import SpatialError


def grid(step=290.0, degrees=0.0, missing=0.0, jitter=0.0, seed=0):
    """Array and pixel positions of a printed array, in an image turned by `degrees`."""
    rng = np.random.default_rng(seed)
    xy = np.array([(x, y) for x in range(3, 26) for y in range(12, 29)], float)
    xy = xy[rng.random(len(xy)) >= missing]
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    pixel = step * xy @ turn + [400.0, -100.0]
    return xy, pixel + rng.normal(0, jitter * step, pixel.shape)


@pytest.mark.parametrize("degrees", [0.0, 1.5, -30.0, 90.0, 180.0])
@pytest.mark.parametrize("missing", [0.0, 0.6])
def test_recovers_the_scale_of_a_turned_array(degrees, missing):
    xy, pixel = grid(291.3, degrees, missing)
    mpp, off = fit_pitch(xy, pixel)
    np.testing.assert_allclose(mpp, 200 / 291.3, rtol=1e-9)
    assert not off.any()


def test_jitter_as_upstream_has_it_costs_a_few_per_mille():
    xy, pixel = grid(291.3, 0.1, missing=0.5, jitter=0.08)
    np.testing.assert_allclose(fit_pitch(xy, pixel)[0], 200 / 291.3, rtol=5e-3)


def test_misplaced_spots_are_marked_and_do_not_move_the_rest():
    xy, pixel = grid(291.3, 2.0)
    wrong = np.random.default_rng(1).choice(len(xy), len(xy) // 12, replace=False)
    pixel[wrong] += [900.0, -2500.0]
    mpp, off = fit_pitch(xy, pixel)
    assert set(np.flatnonzero(off)) == set(wrong)
    np.testing.assert_allclose(mpp, 200 / 291.3, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda xy, p: (xy, p[:, ::-1]), "pixel_x and pixel_y may be swapped"),
        (lambda xy, p: (xy, p * [1.0, 1.2]), "290.0 px along x, 348.0 px along y"),
        (lambda xy, p: (xy, p + p[:, ::-1] * [0.1, 0]), "degrees from a right angle"),
        (lambda xy, p: (xy, p * 20), "0.0345 micrometres per pixel, expected .0.15"),
        (lambda xy, p: (xy, p * 0 + 7), "no grid"),
        (
            lambda xy, p: (xy[:8], p[:8]),
            "6 pairs of neighbouring spots along x to measure the pitch, got fewer",
        ),
    ],
)
def test_implausible_pitches_say_why(change, reason):
    with pytest.raises(SpatialError, match=reason):
        fit_pitch(*change(*grid()))


def test_positions_without_a_grid_are_refused():
    xy, pixel = grid()
    shuffled = np.random.default_rng(0).permutation(pixel)
    with pytest.raises(SpatialError, match="bad spot pitch|no grid"):
        fit_pitch(xy, shuffled)


def spots_of(frame, count=40, seed=0):
    rng = np.random.default_rng(seed)
    new = np.round(rng.uniform(1, [33, 35], (count, 2)), 3)
    pixel = np.round((new - 1) * np.array(frame) / [32, 34], 2)
    columns = ["new_x", "new_y", "pixel_x", "pixel_y"]
    return pd.DataFrame(np.hstack([new, pixel]), columns=columns)


def test_frame_is_known_without_an_image():
    assert frame_size(spots_of((6954, 7435))) == (6954, 7435)
    assert frame_size(spots_of((6954, 7435))[["pixel_x", "pixel_y"]]) is None


def test_positions_that_do_not_follow_the_frame_are_refused():
    spots = spots_of((6954, 7435))
    spots.loc[3, "pixel_y"] += 40
    with pytest.raises(SpatialError, match="pixel_y is not proportional"):
        frame_size(spots)


def test_scale_of_a_reduced_image():
    scale = image_scale((2000, 2138), (6954, 7435))
    np.testing.assert_allclose(scale, (2000 / 6954, 2138 / 7435), rtol=0)
    assert image_scale((100, 300), None) == (1.0, 1.0)
    with pytest.raises(SpatialError, match="2000 x 1500.*6954 x 7435.*same shape"):
        image_scale((2000, 1500), (6954, 7435))


def test_real_sections(real_data):
    # Sizes are the images' own; pitches were also fitted by plain least squares.
    expected = {
        "A1": ((6954, 7435), 0.916),
        "B4": ((9272, 9923), 0.688),
        "C2": ((9274, 9911), 0.689),
        "C3": ((9270, 9936), 0.686),
        "C4": ((9278, 9916), 0.686),
        "C5": ((9272, 9901), 0.686),
    }
    for name, files in find_sections(real_data / "her2st").items():
        spots, notes = read_spots(files.spots)
        xy = np.array(spots.index.tolist(), float)
        pixel = spots[["pixel_x", "pixel_y"]].to_numpy()
        mpp, off = fit_pitch(xy, pixel)
        assert notes == [] and not off.any()
        assert frame_size(spots) == expected[name][0]
        np.testing.assert_allclose(mpp, expected[name][1], atol=1e-3)
        design = np.column_stack([xy, np.ones(len(xy))])
        plain = np.linalg.norm(
            np.linalg.lstsq(design, pixel, rcond=None)[0][:2], axis=1
        )
        assert abs(plain[0] / plain[1] - 1) < 0.012
        np.testing.assert_allclose(mpp, 200 / np.sqrt(plain.prod()), rtol=1e-9)
