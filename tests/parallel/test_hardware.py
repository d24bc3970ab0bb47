"""Targets, and figures that are those of the makers' pages."""

import pytest

from pathjax.parallel.hardware import CHIPS, TargetError, parse_target


@pytest.mark.parametrize(
    ("text", "chips", "devices", "name"),
    [
        ("v5e:4x4", 16, 16, "v5e:4x4"),
        ("v5p:4x4x8", 128, 128, "v5p:4x4x8"),
        ("V6E:2x4", 8, 8, "v6e:2x4"),
        ("v7x:2x2x1", 4, 8, "tpu7x:2x2x1"),
        ("h200:1", 1, 1, "h200:1"),
        ("cpu:8", 8, 8, "cpu:8"),
    ],
)
def test_targets(text, chips, devices, name):
    target = parse_target(text)
    assert (target.chips, target.devices, target.name) == (chips, devices, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5x:4x4", "no chip 'v5x'; did you mean"),
        ("v4:2x2x2", "v4 is left out"),
        ("v5e", "expected v5e with AxB"),
        ("v5e:16", "expected v5e with AxB"),
        ("v5p:4x4", "expected v5p with AxBxC"),
        ("h100:2x4", "expected h100 with a count"),
        ("cpu:0", "expected cpu with a count"),
        ("v5e:4x", "expected v5e with AxB"),
    ],
)
def test_targets_that_are_none(text, message):
    with pytest.raises(TargetError, match=message):
        parse_target(text)


def test_every_figure_has_a_source_and_halves_of_a_chip_make_one():
    for chip in CHIPS.values():
        assert chip.source
        if chip.platform != "cpu":
            assert chip.peak >= chip.peak_float32 > 0
            assert chip.bandwidth > chip.link > 0
    half = CHIPS["tpu7x"]
    assert half.peak * half.per_chip == 2307e12
    assert half.bandwidth * half.per_chip == 7380e9
    assert CHIPS["v5e"].peak_of("bfloat16") == 197e12
    assert CHIPS["h100"].peak_of("float32") == 495e12


def test_one_process_s_part_of_a_pod():
    hosts = {
        "v5e:16x16": "v5e:2x4",
        "v5e:2x2": "v5e:2x2",
        "v5p:4x4x8": "v5p:2x2x1",
        "h100:32": "h100:8",
        "h200:1": "h200:1",
        "cpu:8": "cpu:8",
    }
    assert {text: parse_target(text).host.name for text in hosts} == hosts
