"""Adapters: start as the base, update by alpha / rank, merge to the same function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.models.lora import LoRA, merge_lora
from pathjax.models.variants import vit_config
from pathjax.models.vit import Linear, ViT

CONFIG = vit_config("Xs/8", image_px=16, depth=2, width=24, heads=3, mlp_dim=32)


def test_a_linear_with_an_adapter_by_hand():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 5, 6)).astype(np.float32)
    params = {
        "kernel": random.normal(size=(6, 4)),
        "bias": random.normal(size=4),
        "lora_a": random.normal(size=(6, 2)),
        "lora_b": random.normal(size=(2, 4)),
    }
    params = {name: leaf.astype(np.float32) for name, leaf in params.items()}
    lora = LoRA(rank=2, alpha=5.0)
    found = Linear(4, jnp.float32, lora=lora).apply({"params": params}, x)
    expected = x @ params["kernel"] + params["bias"]
    expected += 2.5 * x @ params["lora_a"] @ params["lora_b"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    merged = merge_lora(params, lora)
    assert set(merged) == {"kernel", "bias"}
    found = Linear(4, jnp.float32).apply({"params": merged}, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_an_adapted_model_starts_as_its_base():
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    config = CONFIG.replace(lora=LoRA(rank=4, targets=("qkv", "fc2")))
    params = ViT(config).init(jax.random.key(0), image)["params"]
    block = params["blocks_1"]
    assert set(block["attn"]["qkv"]) == {"kernel", "bias", "lora_a", "lora_b"}
    assert set(block["attn"]["proj"]) == {"kernel", "bias"}
    assert block["mlp"]["fc2"]["lora_a"].shape == (32, 4)
    assert not np.asarray(block["mlp"]["fc2"]["lora_b"]).any()
    adapted = ViT(config).apply({"params": params}, image).pooled
    merged = merge_lora(params, config.lora)
    base = ViT(CONFIG).apply({"params": merged}, image).pooled
    np.testing.assert_allclose(adapted, base, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"rank": 0}, {"alpha": 0.0}, {"targets": ("head",)}]
)
def test_adapters_that_cannot_be_built(options):
    with pytest.raises(ValueError, match="cannot build LoRA"):
        LoRA(**options)
