"""Contrast of the page's colours, light and dark: formulas of WCAG 2.2."""

import itertools
import re
from importlib import resources

import pytest

CSS = (resources.files("pathjax.report.page") / "page.css").read_text("utf-8")


def colours(selector):
    block = CSS.split(selector + " {", 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", block))


THEMES = {"light": colours(":root"), "dark": colours(':root[data-theme="dark"]')}


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula_on_its_ends():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_stand_out(theme):
    shades = THEMES[theme]
    assert set(shades) == set(THEMES["light"])
    grounds = ("ground", "raised")
    for name, ground in itertools.product(("text", "quiet", "accent", "warn"), grounds):
        assert contrast(shades[name], shades[ground]) >= 4.5, (name, ground)
    marks = [f"c{n}" for n in range(8)]
    for name, ground in itertools.product((*marks, "faint"), grounds):
        assert contrast(shades[name], shades[ground]) >= 3, (name, ground)
