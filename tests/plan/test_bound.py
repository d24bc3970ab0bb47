"""The roofline, against numbers worked out by hand."""

import pytest

from pathjax.parallel.hardware import CHIPS
from pathjax.plan.bound import bound
from pathjax.plan.collectives import Collective


def gather(size, group, repeats=1):
    return Collective(
        "all-gather", "g", "", size // group, size, group, repeats, exact=True
    )


def test_the_longest_of_three_counts():
    chip = CHIPS["v5e"]
    common = {"dtype": "bfloat16", "model": int(197e12)}
    one = bound(chip, 2, executed=int(4 * 197e12), accessed=1, sent=[], **common)
    assert (one.limited_by, one.seconds, one.mfu) == ("compute", 2.0, 0.25)
    two = bound(
        chip, 2, executed=1, accessed=int(819e9 * 4), sent=[gather(8, 2)], **common
    )
    assert (two.limited_by, two.seconds) == ("memory", 4.0)
    assert two.mfu == 0.125
    # 3/4 of 400 GB, twice, over 200 GB/s of links.
    three = bound(
        chip, 2, executed=1, accessed=1, sent=[gather(400 * 10**9, 4, 2)], **common
    )
    assert (three.limited_by, three.links) == ("links", 3.0)


def test_beyond_one_machine_the_network_carries_it():
    chip, size = CHIPS["h100"], 8 * 10**9
    inside = bound(
        chip,
        8,
        dtype="bfloat16",
        executed=1,
        model=1,
        accessed=1,
        sent=[gather(size, 8)],
    )
    beyond = bound(
        chip,
        16,
        dtype="bfloat16",
        executed=1,
        model=1,
        accessed=1,
        sent=[gather(size, 16)],
    )
    assert inside.links == pytest.approx(7e9 / 450e9)
    assert beyond.links == pytest.approx(7.5e9 / 50e9)


def test_a_chip_without_figures_has_no_bound():
    none = bound(
        CHIPS["cpu"], 8, dtype="float32", executed=1, model=1, accessed=1, sent=[]
    )
    assert none.seconds is None and none.mfu is None
