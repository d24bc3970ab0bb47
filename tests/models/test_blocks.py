"""Both layouts of the blocks compute the same, with and without recomputation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.models.blocks import from_plain, stack_blocks, to_plain, unstack_blocks
from pathjax.models.lora import LoRA
from pathjax.models.variants import vit_config
from pathjax.models.vit import ViT

CONFIG = vit_config("Xs/8", image_px=16, depth=3, width=24, heads=3, mlp_dim=32)


@pytest.fixture(scope="module")
def plain():
    image = jnp.zeros((1, 16, 16, 3))
    init = quick_jit(ViT(CONFIG).init)
    return jax.device_get(init(jax.random.key(0), image)["params"])


@pytest.fixture(scope="module")
def image():
    random = np.random.default_rng(0)
    return random.normal(size=(4, 16, 16, 3)).astype(np.float32)


def value_and_gradient(config, params, image):
    def loss(params):
        out = ViT(config).apply({"params": params}, image)
        return jnp.square(out.patches).mean() + out.pooled.sum()

    return quick_jit(jax.value_and_grad(loss))(params)


def quick_jit(function):
    """jit with a compile of half the time; these tests measure no speed."""
    quick = {"xla_backend_optimization_level": 0}
    return jax.jit(function, compiler_options=quick)


@pytest.mark.parametrize(
    ("scan", "remat"),
    [
        (True, True),
        pytest.param(True, False, marks=pytest.mark.slow),
        pytest.param(False, True, marks=pytest.mark.slow),
    ],
)
def test_scan_and_remat_change_nothing(plain, image, scan, remat):
    config = CONFIG.replace(scan=scan, remat=remat)
    value, gradient = value_and_gradient(config, from_plain(config, plain), image)
    expected, plain_gradient = value_and_gradient(CONFIG, plain, image)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    if scan:
        gradient = unstack_blocks(gradient, CONFIG.depth)
    assert jax.tree.structure(gradient) == jax.tree.structure(plain_gradient)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5),
        gradient,
        plain_gradient,
    )


def test_a_scanned_model_initialises_each_block_for_itself(image):
    config = CONFIG.replace(scan=True)
    params = quick_jit(ViT(config).init)(jax.random.key(0), image)["params"]
    kernel = params["blocks"]["attn"]["qkv"]["kernel"]
    assert kernel.shape == (3, 24, 72)
    assert float(jnp.abs(kernel[0] - kernel[1]).min()) > 0


def test_scan_drops_paths_at_each_blocks_rate(plain, image):
    """The first block never drops, the last one does, as without scan."""
    for scan in (False, True):
        config = CONFIG.replace(scan=scan, drop_path=0.9, depth=2)
        params = {k: v for k, v in plain.items() if k != "blocks_2"}
        params = from_plain(config, params)
        apply = quick_jit(
            lambda params, image, key, config=config: ViT(config).apply(
                {"params": params}, image, train=True, rngs={"dropout": key}
            )
        )
        many = np.tile(image[:1], (64, 1, 1, 1))
        outs = [apply(params, many, jax.random.key(seed)) for seed in (0, 1)]
        # Only the last block's two branches are sampled: four outcomes, none of them
        # being the commonest (0.81).
        outcomes, count = np.unique(
            np.asarray(outs[0].pooled).round(4), axis=0, return_counts=True
        )
        assert 2 <= len(outcomes) <= 4
        assert count.max() > 32
        assert (np.asarray(outs[1].pooled) != np.asarray(outs[0].pooled)).any()


def test_layouts_are_inverse(plain):
    there_and_back = unstack_blocks(stack_blocks(plain, 3), 3)
    jax.tree.map(np.testing.assert_array_equal, there_and_back, plain)


@pytest.mark.slow
def test_the_plain_form_of_an_adapted_stack(image):
    config = CONFIG.replace(scan=True, lora=LoRA(rank=2, alpha=3.0), remat=True)
    params = quick_jit(ViT(config).init)(jax.random.key(0), image)["params"]
    random = np.random.default_rng(1)
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            random.normal(size=leaf.shape).astype(np.float32) * 0.1
            if path[-1].key == "lora_b"
            else np.asarray(leaf)
        ),
        params,
    )
    plain_config, plain_params = to_plain(config, params)
    assert plain_config == CONFIG
    found = ViT(plain_config).apply({"params": plain_params}, image).patches
    expected = ViT(config).apply({"params": params}, image).patches
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
