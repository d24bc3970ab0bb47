"""Memory of adapting, by the compiler, against arithmetic."""

import json

import pytest

from pathjax.bench import memory, run_bench
from pathjax.bench.options import BenchError


@pytest.fixture(scope="module")
def found():
    options = memory.MemoryOptions(variant="Xs/8", image_px=64, genes=10, rank=2)
    return memory.measure(options)["modes"]


def test_gradients_are_four_bytes_and_moments_eight(found):
    for entry in found.values():
        assert entry["gradient_bytes"] == pytest.approx(4 * entry["trained"], rel=0.01)
        # And a few counters.
        assert entry["optimizer_bytes"] == pytest.approx(8 * entry["trained"], rel=0.01)
    assert found["full"]["share"] == 1


def test_adapters_by_hand(found):
    """Xs/8: width 96, four blocks, MLP of 384; rank 2 on all four linears."""
    per_block = 2 * ((96 + 288) + (96 + 96) + (96 + 384) + (384 + 96))
    encoder = found["lora"]["parameters"] - 4 * per_block
    assert encoder == found["full"]["parameters"]
    heads = found["lora"]["trained"] - 4 * per_block
    # Heads and expression MLP are trained in every mode.
    assert found["last"]["trained"] > heads > 0


@pytest.mark.slow
def test_the_command_writes_what_it_shows(tmp_path, capsys):
    options = ["--config.variant=Xs/8", "--config.image_px=64", "--config.genes=4"]
    run_bench("memory", False, tmp_path / "memory.json", options)
    written = json.loads((tmp_path / "memory.json").read_text())
    assert written["options"]["genes"] == 4
    assert "lora" in capsys.readouterr().out
    with pytest.raises(BenchError, match=r"rnak: no such option, near are rank"):
        run_bench("memory", False, None, ["--config.rnak=3"])
