"""Scaling: every size is measured, against one device, and options are checked."""

import jax
import pytest

from pathjax.bench import scale
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
def test_sizes_and_efficiency(scaling, capsys):
    assert jax.device_count() == 8
    found = scale.measure(scale.ScaleOptions(**TINY, scaling=scaling, devices=2))
    sizes = {(one["devices"], one["mesh"]): one for one in found["sizes"]}
    assert set(sizes) == {(1, "data"), (2, "data"), (2, "fsdp")}
    for (n, _), one in sizes.items():
        assert one["batch"] == (4 * n if scaling == "weak" else 4)
        rate = one["images_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
    assert sizes[1, "data"]["efficiency"]["rounds"] == [1.0, 1.0]
    assert found["simulated"]
    scale.show(found)
    assert "efficiency says nothing here" in " ".join(capsys.readouterr().out.split())


def test_options_that_do_not_fit():
    assert jax.device_count() == 8  # from here on their number is fixed
    for options, named in (
        ({"scaling": "up"}, "scaling=up: wanted weak or strong"),
        ({"devices": 99}, "devices=99, and there are 8"),
        ({"scaling": "strong", "batch": 12}, "batch=12 does not divide over 8"),
    ):
        with pytest.raises(BenchError, match=named):
            scale.measure(scale.ScaleOptions(**TINY | options))
