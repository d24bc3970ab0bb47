"""Each model of the registry against timm or transformers, at its real width."""

import pytest

from pathjax.zoo import names

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("name", names())
def test_the_same_numbers_as_its_library(name):
    from pathjax.zoo.parity import AT_GRID, ELSEWHERE, compare, quiet

    with quiet():
        found = compare(name)
    assert found.cls <= AT_GRID and found.patches <= AT_GRID
    assert found.elsewhere <= ELSEWHERE
    assert found.exact
    assert found.exported <= AT_GRID
    assert found.passed
