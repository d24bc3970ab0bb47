"""A device is compared with the CPU: here with itself, and with broken arithmetic."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.bench import numerics
from pathjax.config import load

TINY = {
    "model.variant": "Xs/8",
    "model.depth": 1,
    "data.unit": "tile",
    "data.tiles": 1,
    "data.image_px": 16,
    "data.batch": 4,
    "data.genes": 12,
    "eval.every": 0,
    "val_fold": "",
}


def config(dtype):
    return load("configs/demo.py:contrastive", TINY | {"model.dtype": dtype})


def compare(here=1):
    devices = jax.devices()
    return list(numerics.compare(config, devices[here], devices[0]))


def test_relative_error_is_of_the_largest_value():
    expected = {"a": np.array([4.0, -8.0]), "b": np.zeros(2)}
    found = {"a": np.array([4.4, -8.0]), "b": np.zeros(2)}
    assert numerics.relative_error(found, expected) == pytest.approx(0.05)
    found["a"][0] = np.nan
    assert np.isnan(numerics.relative_error(found, expected))


@pytest.mark.slow
def test_a_cpu_equals_itself_in_float32_and_nearly_in_bfloat16():
    checks = compare()
    states = collections.Counter(check.state for check in checks)
    assert states == {"passed": 33, "skipped": 3}  # 11 of 3 kinds, and cuDNN
    for check in checks:
        if check.state == "skipped":
            assert check.what == "attention: cudnn" and "GPU" in check.note
        elif check.arithmetic == "bfloat16":
            assert check.error > 0 or check.what.startswith("loss")  # in float32 inside
        else:
            assert check.error == 0


def test_a_wrong_loss_on_the_device_fails(monkeypatch):
    """Both ways that arithmetic can be wrong: another number, and an error."""
    only = {"loss: MSE", "loss: Huber"}
    real, device = numerics._losses(), jax.devices()[1]

    def wrong(case):
        return lambda dtype, on: jax.tree.map(
            lambda x: x * (1.001 if on == device else 1), case(dtype, on)
        )

    def broken(dtype, on):
        if on == device:
            raise RuntimeError("no such kernel")
        return real["Huber"](dtype, on)

    monkeypatch.setattr(
        numerics, "_losses", lambda: {"MSE": wrong(real["MSE"]), "Huber": broken}
    )
    monkeypatch.setattr(numerics, "IMPLEMENTATIONS", ("auto",))
    monkeypatch.setattr(numerics, "_encoder", lambda config: jnp.zeros(1))
    monkeypatch.setattr(numerics, "_step", lambda config, device: jnp.full(1, np.nan))
    checks = {(c.what, c.arithmetic): c for c in compare() if c.what in only}
    exact = checks["loss: MSE", "float32"]
    assert exact.state == "failed" and exact.error == pytest.approx(1e-3, rel=0.01)
    assert checks["loss: MSE", "bfloat16"].state == "passed"
    assert checks["loss: Huber", "float32"].state == "failed"
    assert "no such kernel" in checks["loss: Huber", "float32"].note
    (step,) = {c.note for c in compare() if c.what == "training step"}
    assert step == "it is not finite"
