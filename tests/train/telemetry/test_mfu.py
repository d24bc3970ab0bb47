"""MFU's two numbers, against sums by hand."""

from types import SimpleNamespace

import pytest
from tiny_study import config_for

from pathjax.config import resolve
from pathjax.parallel.mesh import make_mesh
from pathjax.train.inputs import make_objective
from pathjax.train.program import make_program
from pathjax.train.telemetry.mfu import chip_of, model_flops, peak_flops


def device(platform, kind):
    return SimpleNamespace(platform=platform, device_kind=kind)


@pytest.mark.parametrize(
    ("platform", "kind", "name"),
    [
        ("tpu", "TPU v5 lite", "v5e"),
        ("tpu", "TPU v5p", "v5p"),
        ("tpu", "TPU v6 lite", "v6e"),
        ("gpu", "NVIDIA H100 80GB HBM3", "h100"),
        ("gpu", "NVIDIA A100-SXM4-80GB", "a100"),
        ("gpu", "NVIDIA H200", "h200"),
        ("gpu", "NVIDIA H100 PCIe", None),
        ("gpu", "Tesla T4", None),
        ("tpu", "TPU v4", None),
        ("cpu", "cpu", None),
    ],
)
def test_a_chip_is_known_by_what_jax_calls_it(platform, kind, name):
    chip = chip_of(device(platform, kind))
    assert (chip and chip.name) == name


def test_the_peak_is_of_all_devices_and_of_the_precision():
    h100, unknown = device("gpu", "NVIDIA H100 80GB HBM3"), device("cpu", "cpu")
    assert peak_flops([h100] * 2, "bfloat16") == pytest.approx(2 * 989e12)
    assert peak_flops([h100], "float32") == pytest.approx(495e12)
    assert peak_flops([h100, unknown], "bfloat16") is None


def test_model_flops_by_hand_whatever_is_accumulated(tiny_study):
    """2 per weight, row and product; a backward pass is twice the forward one."""
    values = {"objective.name": "regression", "data.tiles": 1, "model.scan": False}
    config = resolve(config_for(tiny_study, **values))
    vit = config.encoder(None)
    objective = make_objective(config, vit, n_genes=8)
    program = make_program(config, objective, make_mesh())
    batch, tokens, patches = 8, 5, 4
    width, mlp = vit.width, vit.mlp_dim
    block = tokens * (4 * width * width + 2 * width * mlp) + 2 * tokens**2 * width
    embed = patches * vit.patch**2 * 3 * width
    found = model_flops(program).total
    # No gradient with respect to pixels; the rest is the small head.
    encoder = 2 * batch * (3 * block + 2 * embed)
    assert encoder <= found <= 1.1 * encoder
    config = config.replace({"optim.accumulate": 2})
    parts = make_program(config, objective, make_mesh())
    assert parts.parts == 2 and model_flops(parts).total == found
