"""Scaling: sizes, efficiency and options."""

import jax
import pytest

from pathjax.bench import runner, scale
from pathjax.bench.options import BenchError

TINY = {
    "variant": "Xs/8",
    "image_px": 16,
    "batch": 4,
    "genes": 12,
    "layers": 1,
    "width": 8,
    "embed_dim": 4,
    "rounds": 2,
    "count": 1,
    "dtype": "float32",
}


@pytest.mark.slow
@pytest.mark.parametrize("scaling", ["weak", "strong"])
def test_sizes_and_efficiency(scaling):
    assert jax.device_count() == 8
    options = scale.Options(**TINY, scaling=scaling, devices=2)
    found = runner.run("scale", scale, options, peer=False)
    assert list(found["contestants"]) == ["1-data", "2-data", "2-fsdp"]
    for row in found["contestants"].values():
        n = row["devices"]
        assert row["batch"] == (4 * n if scaling == "weak" else 4)
        rate = row["items_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert row["peak_resident_bytes"] > 0
    assert found["contestants"]["1-data"]["efficiency"] == [1.0]
    two = found["contestants"]["2-data"]["items_per_second"]["rounds"]
    alone = found["contestants"]["1-data"]["items_per_second"]["rounds"]
    expected = sorted(b / a / 2 for a, b in zip(alone, two, strict=True))
    assert found["contestants"]["2-data"]["efficiency"] == pytest.approx(expected)
    assert "efficiency means nothing here" in found["summary"][-1]


def test_options_that_do_not_fit():
    assert jax.device_count() == 8  # from here on their number is fixed
    for options, named in (
        ({"scaling": "up"}, "scaling=up: expected weak or strong"),
        ({"devices": 99}, "devices=99: expected at most 8"),
        ({"scaling": "strong", "batch": 12}, "batch=12 does not divide over 8"),
    ):
        with pytest.raises(BenchError, match=named):
            scale.local_workers(scale.Options(**TINY | options))
