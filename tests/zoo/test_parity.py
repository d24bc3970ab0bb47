"""Each model of the registry against timm or transformers, at its real width.

ViT-S has all its blocks, wider models two: blocks are alike, and all of ViT-L's take
minutes. `python tests/parity.py` compares those too (docs/parity.md).
"""

import dataclasses

import pytest

from pathjax.zoo import get, names

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("name", names())
def test_the_same_numbers_as_its_library(name):
    from parity import AT_GRID, ELSEWHERE, compare_named, quiet

    with quiet():
        found = compare_named(name, full_width=384)
    assert found.cls <= AT_GRID and found.patches <= AT_GRID
    assert found.elsewhere <= ELSEWHERE
    assert found.exact
    assert found.exported <= AT_GRID
    assert found.passed


@pytest.mark.parametrize(
    ("name", "wrong", "where"),
    [
        ("phikon", {"norm_eps": 1e-6}, "cls"),
        ("phikon", {"positions": "timm"}, "elsewhere"),
        ("phikon", {"gelu": "tanh"}, "patches"),
        ("dino-vits16", {"positions": "dinov2"}, "elsewhere"),
        ("dino-vits16", {"heads": 3}, "cls"),
    ],
)
def test_the_comparison_sees_what_is_wrong(name, wrong, where):
    from parity import AT_GRID, ELSEWHERE, compare, quiet

    entry = get(name)
    vit = entry.vit.replace(depth=2, **wrong)
    with quiet():
        found = compare(dataclasses.replace(entry, vit=vit))
    bar = ELSEWHERE if where == "elsewhere" else AT_GRID
    assert getattr(found, where) > bar and not found.passed
