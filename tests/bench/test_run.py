"""From the command's words to the JSON file, with the real workers at their smallest."""

import json

import pytest

from pathjax.bench import run_bench
from pathjax.bench.options import BenchError

SMALL_STEP = (
    "variant=Xs/8 image_px=16 batch=2 genes=8 layers=1 width=8 embed_dim=4 count=1 "
    "rounds=2 threads=1 contestants=pathjax"
)


def words(text):
    return [f"--config.{word}" for word in text.split()]


@pytest.mark.slow
def test_step(tmp_path, capsys):
    out = tmp_path / "step.json"
    assert run_bench("step", False, out, words(SMALL_STEP)) == 0
    found = json.loads(out.read_text())
    ours = found["contestants"]["pathjax"]
    assert len(ours["images_per_second"]["rounds"]) == 2
    assert ours["device"].startswith("cpu") and ours["share_of_matrix_rate"] > 0
    assert len(found["matrix_gflops"]["jax"]["rounds"]) == 2
    assert found["ratios"] == [] and found["options"]["variant"] == "Xs/8"
    assert "pathjax float32" in capsys.readouterr().out


def test_refuses_before_anything_is_started(monkeypatch):
    with pytest.raises(BenchError, match="near are batch"):
        run_bench("step", False, None, ["--config.bathc=3"])
    with pytest.raises(
        BenchError, match="bench lodaer: there are step, forward, loader"
    ):
        run_bench("lodaer", False, None, [])
    with pytest.raises(BenchError, match="are peers: add --peer"):
        run_bench("step", False, None, ["--config.contestants=torch"])


def test_says_how_to_get_the_peers(monkeypatch):
    monkeypatch.setattr(
        "pathjax.bench.run.PEER_MODULES", {"step": ("no_such_torch",), "loader": ()}
    )
    with pytest.raises(BenchError, match=r"no_such_torch.*pathjax\[peers\]"):
        run_bench("step", True, None, [])
