"""mpp first: who says it, what is refused, which level and size follow."""

import types

import numpy as np
import pytest
from PIL import Image

from pathjax.wsi.base import Level, SlideError
from pathjax.wsi.scale import level_for, plan_reading, slide_mpp, trusted_mpp


def levels(*factors):
    return tuple(Level(int(40_000 / f), int(40_000 / f), float(f)) for f in factors)


def of(mpp, source="file"):
    return types.SimpleNamespace(mpp=mpp, mpp_source=source)


def test_the_users_mpp_goes_first_then_the_files():
    assert slide_mpp(of(0.25), 0.3) == 0.3
    assert slide_mpp(of(0.25), None) == 0.25
    assert slide_mpp(of(None), 0.3) == 0.3
    for slip in (250.0, 0.00025, float("nan")):  # nm or mm
        with pytest.raises(SlideError, match="expected 0.05 to 20 micrometres"):
            slide_mpp(of(0.25), slip)
    with pytest.raises(SlideError, match="unknown: file; .*--mpp-csv"):
        slide_mpp(of(None), None)


def test_a_files_statements_are_trusted_where_plausible_and_agreed():
    assert trusted_mpp({}, "none") == (None, "none")
    stated = {"ome": (0.25, 0.26), "tags": (0.26, 0.26)}
    assert trusted_mpp(stated, "") == (pytest.approx(0.255), "ome")
    # 72 dpi is what software writes by default, beside the scanner's own statement.
    assert trusted_mpp({"ome": (0.25, 0.25), "tags": (352.8, 352.8)}, "")[0] == 0.25
    for bad in (
        *((352.8, 352.8), (1000.0, 1000.0), (0.025, 0.025), (0.0, 0.0)),
        *((-1.0, 0.25), (float("nan"), 0.25), (float("inf"), 0.25)),
    ):
        mpp, reason = trusted_mpp({"tags": bad}, "none")
        assert mpp is None and "which no scanner has (0.05 to 20)" in reason
        # A plausible tag does not make the metadata plausible.
        assert trusted_mpp({"ome": bad, "tags": (0.5, 0.5)}, "none")[0] is None
    mpp, reason = trusted_mpp({"ome": (0.25, 0.27)}, "none")
    assert mpp is None and "not square: 0.25 x 0.27 um/px" in reason
    mpp, reason = trusted_mpp({"ome": (0.25, 0.25), "tags": (0.5, 0.5)}, "none")
    assert mpp is None and reason == "ome says 0.25 um/px, tags 0.5"


@pytest.mark.parametrize(
    ("mpp", "expected", "level", "side"),
    [
        (0.25, 0.25, 0, 224),
        (0.25, 0.5, 0, 448),
        (0.25, 1.0, 1, 224),
        (0.2501, 1.0, 1, 224),  # a level of 1.0004 is one of 1.0
        (0.27, 1.0, 0, 830),  # 1.08 is not: from level 0, 829.6 px
        (0.25, 3.0, 1, 672),
        (0.25, 4.0, 2, 224),
        (0.2325, 0.25, 0, 241),
        (0.2527, 0.25, 0, 222),  # enlarged by 1 %
    ],
)
def test_the_coarsest_level_that_is_fine_enough(mpp, expected, level, side):
    reading = plan_reading(levels(1, 4, 16), mpp, expected, 224)
    assert (reading.level, reading.side) == (level, side)
    assert reading.extent == side * (1, 4, 16)[level]
    # The scale is off by at most half a pixel of the level read.
    assert abs(reading.extent * mpp - 224 * expected) <= 0.5 * mpp * (1, 4, 16)[level]


def test_levels_need_not_be_sorted():
    assert level_for(levels(1, 16, 4), 0.25, 1.0) == 2


def test_enlarging_by_more_than_a_tenth_is_refused():
    plan_reading(levels(1), 0.55, 0.5, 224)
    with pytest.raises(SlideError, match=r"0.56 um/px, too coarse .* 0.5 um/px"):
        plan_reading(levels(1), 0.56, 0.5, 224)


def test_resizing_is_antialiased_and_left_out_where_it_does_nothing():
    region = np.random.default_rng(0).integers(0, 256, (448, 448, 3), np.uint8)
    reading = plan_reading(levels(1), 0.25, 0.5, 224)
    small = reading.resize(region)
    expected = Image.fromarray(region).resize((224, 224), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(small, np.asarray(expected))
    # Noise averages out, which it would not without antialiasing.
    assert small.std() < 0.75 * region.std()
    same = plan_reading(levels(1), 0.5, 0.5, 448).resize(region)
    np.testing.assert_array_equal(same, region)
