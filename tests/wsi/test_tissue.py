"""Tissue: found on glass, none on a blank slide, no ink, holes and dust handled."""

import numpy as np
import pytest
from extras import need
from made_slides import glass, tissue
from PIL import Image

from pathjax.wsi.overview import read_overview
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tissue import RULES, find_tissue, otsu

MPP = 8.0


def disc(shape, centre, radius):
    y, x = np.indices(shape)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def specimen(size=300):
    """An overview with a disc of tissue, and where it is."""
    pixels, where = glass(size, size), disc((size, size), (150, 150), 90)
    pixels[where] = tissue(size, size)[where]
    return pixels, where


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("rule", RULES)
def test_a_disc_of_tissue_is_found(rule):
    pixels, where = specimen()
    assert overlap(find_tissue(pixels, MPP, rule), where) > 0.95


@pytest.mark.parametrize("tint", [(0, 0, 0), (-2, -6, -2), (-20, -20, -20)])
def test_a_blank_slide_has_none(tint):
    pixels = np.clip(glass(200, 200).astype(int) + tint, 0, 255).astype(np.uint8)
    assert not find_tissue(pixels, MPP).any()
    assert not find_tissue(np.full((50, 50, 3), 255, np.uint8), MPP).any()


@pytest.mark.parametrize("size", [9, 30])
def test_glass_is_none_in_however_small_a_picture(size):
    """Smaller than the holes that are filled, with and without tissue beside it."""
    assert not find_tissue(glass(size, size), MPP).any()
    assert not find_tissue(glass(1, size), MPP).any()
    half = np.concatenate([glass(30, size), tissue(30, 30)], axis=1)
    found = find_tissue(half, MPP)
    assert found[:, size + 2 :].all() and not found[:, : size - 2].any()


def test_a_region_that_is_tissue_throughout_is_kept_whole():
    assert find_tissue(tissue(60, 60), MPP).all()


def test_pale_tissue_beside_dark_is_kept():
    pixels, where = specimen()
    pale = where & (np.indices(where.shape)[1] > 150)
    pixels[pale] = (0.55 * pixels[pale] + 0.45 * 243).astype(np.uint8)
    found = find_tissue(pixels, MPP)
    assert found[pale].mean() > 0.9


@pytest.mark.parametrize(
    "ink", [(30, 120, 60), (40, 60, 160), (20, 130, 150), (25, 25, 30)]
)
def test_ink_is_no_tissue_and_tissue_beside_it_is(ink):
    pixels, where = specimen()
    stroke = np.zeros_like(where)
    stroke[140:160, 10:290] = True
    pixels[stroke] = ink
    found = find_tissue(pixels, MPP)
    assert not found[stroke].any()
    away = where.copy()
    away[130:170] = False
    assert found[away].mean() > 0.95


def test_dark_nuclei_are_no_ink():
    pixels, where = specimen()
    for y, x in ((100, 120), (150, 180), (190, 140)):
        pixels[disc(where.shape, (y, x), 3)] = (40, 25, 80)
    assert overlap(find_tissue(pixels, MPP), where) > 0.95


def test_small_holes_are_filled_large_ones_and_dust_are_not():
    pixels, where = specimen()
    small, large = disc(where.shape, (120, 120), 8), disc(where.shape, (180, 170), 30)
    pixels[small | large] = glass(300, 300)[small | large]
    pixels[disc(where.shape, (20, 20), 4)] = (200, 120, 170)
    found = find_tissue(pixels, MPP)
    assert found[small].all()
    assert found[large].mean() < 0.2
    assert not found[:40, :40].any()


def test_otsu_is_the_best_split_of_two():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(30, 8, 4000), rng.normal(120, 20, 1500)])
    values = np.clip(values, 0, 255).astype(np.uint8)

    def within(threshold):
        parts = values[values <= threshold], values[values > threshold]
        return sum(part.var() * len(part) for part in parts if len(part))

    best = min(range(256), key=within)
    assert otsu(values) == best
    assert otsu(values[:0]) == 0.0
    assert otsu(np.full(9, 7, np.uint8)) == 0.0


def test_rule_is_checked():
    with pytest.raises(ValueError, match="expected otsu or saturation"):
        find_tissue(glass(9, 9), MPP, "deep")


@pytest.mark.parametrize("rule", RULES)
def test_real_slides(real_data, rule):
    """Against colour alone, judged by lightness: another quantity than saturation."""
    need("openslide")
    folder = real_data / "wsi"
    for name, mpp in (
        ("CMU-1-Small-Region.svs", 0.499),
        ("TCGA-CR-7395-01A-01-TS1.svs", 0.5),
    ):
        slide = open_slide(folder / name)
        overview = read_overview(slide, mpp)
        found = find_tissue(overview.pixels, overview.mpp, rule)
        dark = np.asarray(Image.fromarray(overview.pixels).convert("L")) < 200
        assert overlap(found, dark) > 0.8, name
