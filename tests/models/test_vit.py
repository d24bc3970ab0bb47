"""The ViT: sizes of the known ones, a NumPy forward, positions, pooling, drop path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from pathjax.models.variants import VARIANTS, vit_config
from pathjax.models.vit import Block, ViT, normalise

TINY = vit_config("Xs/8", image_px=32, depth=2, width=48, heads=3, mlp_dim=96)

DINOV2 = {
    "image_px": 518,
    "registers": 4,
    "no_embed_class": True,
    "layerscale": 1e-5,
}


def shapes(config, batch=2):
    """Abstract outputs and parameters: a trace, no memory."""
    image = jnp.zeros((batch, config.image_px, config.image_px, 3), jnp.float32)
    init = ViT(config).init_with_output
    out, variables = jax.eval_shape(lambda: init(jax.random.key(0), image))
    return variables["params"], out


def made(config, seed=0):
    """Random parameters of the right shapes; initialising would compile."""
    random = np.random.default_rng(seed)

    def leaf(path, shape):
        centre = 1.0 if path[-1].key in ("scale", "gamma") else 0.0
        return (centre + 0.15 * random.normal(size=shape.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes(config)[0])


def quick_jit(function):
    """jit with a compile of half the time; these tests measure no speed."""
    quick = {"xla_backend_optimization_level": 0}
    return jax.jit(function, compiler_options=quick)


def forward(config, params, image, **options):
    apply = quick_jit(lambda p, x: ViT(config).apply({"params": p}, x, **options))
    return apply(params, image)


def images(batch=2, height=32, width=32, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(batch, height, width, 3)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_shapes_of_every_variant(variant):
    config = vit_config(variant, pool="cls_mean", registers=4)
    params, out = shapes(config)
    assert out.pooled.shape == (2, 2 * config.width)
    assert out.cls.shape == (2, config.width)
    assert out.patches.shape == (2, config.grid**2, config.width)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("config", "count"),
    [
        # timm's models with `num_classes=0`.
        (vit_config("Ti/16"), 5_524_416),
        (vit_config("S/16"), 21_665_664),
        (vit_config("B/16"), 85_798_656),
        (vit_config("L/16"), 303_301_632),
        (vit_config("L/14", **DINOV2), 304_370_688),
        (vit_config("g/14", **DINOV2), 1_136_483_840),
    ],
)
def test_parameter_counts(config, count):
    params, _ = shapes(config)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


# The reference forward, plain NumPy in float64, a head at a time.


def norm(x, p):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-6) * p["scale"] + p["bias"]


def linear(x, p):
    return x @ p["kernel"] + p["bias"]


def gelu(x):
    return x * scipy.special.ndtr(x)


def attention(x, p, heads):
    width = x.shape[-1]
    head = width // heads
    qkv, parts = linear(x, p["qkv"]), []
    for h in range(heads):
        q, k, v = (
            qkv[..., part * width + h * head : part * width + (h + 1) * head]
            for part in range(3)
        )
        scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(head)
        parts.append(scipy.special.softmax(scores, axis=-1) @ v)
    return linear(np.concatenate(parts, axis=-1), p["proj"])


def block(x, p, config):
    gamma = [p[n]["gamma"] if n in p else 1 for n in ("ls1", "ls2")]
    x = x + gamma[0] * attention(norm(x, p["norm1"]), p["attn"], config.heads)
    h = linear(norm(x, p["norm2"]), p["mlp"]["fc1"])
    if config.mlp == "swiglu":
        gate, value = np.split(h, 2, axis=-1)
        h = gate * scipy.special.expit(gate) * value
    else:
        h = gelu(h)
    return x + gamma[1] * linear(h, p["mlp"]["fc2"])


def reference(image, p, config):
    """Tokens after the final norm, for images of the configured size."""
    n, patch = config.grid, config.patch
    patches = [
        image[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
        for r in range(n)
        for c in range(n)
    ]
    x = np.stack([one.reshape(len(image), -1) for one in patches], axis=1)
    x = linear(x, p["patch_embed"])
    prefix = [np.broadcast_to(p["cls_token"], (len(image), 1, config.width))]
    if config.registers:
        shape = (len(image), config.registers, config.width)
        prefix.append(np.broadcast_to(p["reg_token"], shape))
    if config.no_embed_class:
        x = np.concatenate([*prefix, x + p["pos_embed"]], axis=1)
    else:
        x = np.concatenate([*prefix, x], axis=1) + p["pos_embed"]
    for i in range(config.depth):
        x = block(x, p[f"blocks_{i}"], config)
    return norm(x, p["norm"])


@pytest.mark.parametrize("mlp", ["gelu", "swiglu"])
@pytest.mark.parametrize("layerscale", [None, 0.1])
def test_one_block_is_the_reference(mlp, layerscale):
    config = TINY.replace(mlp=mlp, layerscale=layerscale)
    params = made(config)["blocks_1"]
    x = np.random.default_rng(1).normal(size=(2, 7, 48)).astype(np.float32)
    found = quick_jit(lambda p, x: Block(config).apply({"params": p}, x))(params, x)
    np.testing.assert_allclose(found, block(x, params, config), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"registers": 3},  # positions for the registers too, as in timm
        {"registers": 2, "no_embed_class": True, "layerscale": 0.5},
    ],
)
def test_the_whole_forward_is_the_reference(change):
    config = TINY.replace(**change)
    params, image = made(config), images()
    out = forward(config, params, image)
    tokens = reference(image.astype(np.float64), params, config)
    np.testing.assert_allclose(out.cls, tokens[:, 0], rtol=1e-4, atol=1e-4)
    patches = tokens[:, 1 + config.registers :]
    np.testing.assert_allclose(out.patches, patches, rtol=1e-4, atol=1e-4)


def test_patch_kernel_is_the_documented_view_of_a_convolution():
    params, image = made(TINY), images()
    weight = np.random.default_rng(2).normal(size=(48, 3, 8, 8)).astype(np.float32)
    convolved = jax.lax.conv_general_dilated(
        image, weight, (8, 8), "VALID", dimension_numbers=("NHWC", "OIHW", "NHWC")
    )
    patches, grid = ViT(TINY).patchify(image)
    assert grid == (4, 4)
    kernel = weight.transpose(2, 3, 1, 0).reshape(8 * 8 * 3, 48)
    assert kernel.shape == params["patch_embed"]["kernel"].shape
    np.testing.assert_allclose(
        patches @ kernel, convolved.reshape(2, 16, 48), rtol=1e-4, atol=1e-3
    )


def test_pools():
    params, image = made(TINY), images()
    outs = {
        pool: forward(TINY.replace(pool=pool), params, image)
        for pool in ("cls", "mean", "cls_mean")
    }
    cls, patches = outs["cls"].cls, outs["cls"].patches
    np.testing.assert_array_equal(outs["cls"].pooled, cls)
    mean = np.asarray(patches, np.float64).mean(axis=1)
    np.testing.assert_allclose(outs["mean"].pooled, mean, rtol=1e-5, atol=1e-6)
    both = np.concatenate([cls, outs["mean"].pooled], axis=-1)
    np.testing.assert_allclose(outs["cls_mean"].pooled, both, rtol=1e-6)


def test_without_positions_the_order_of_patches_does_not_matter():
    config = TINY.replace(pool="mean")
    params, image = made(config), images()
    params["pos_embed"] = np.zeros_like(params["pos_embed"])
    # Turning by a half turns each patch too; turn the patches back.
    tiles = image.reshape(2, 4, 8, 4, 8, 3)[:, ::-1, :, ::-1].reshape(image.shape)
    straight, turned = (forward(config, params, x) for x in (image, tiles))
    np.testing.assert_allclose(turned.pooled, straight.pooled, atol=2e-5)
    assert np.abs(turned.patches - straight.patches).max() > 0.1


def test_other_image_sizes():
    config = TINY.replace(registers=2)
    params = made(config)
    out = forward(config, params, images(height=48, width=16))
    assert out.patches.shape == (2, 12, 48)
    # The prefix keeps its positions: CLS sees the same token in.
    with pytest.raises(ValueError, match=r"multiples of the patch, 8.*32 or 40 px"):
        ViT(config).apply({"params": params}, images(height=33))


def test_normalise():
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (image / 255 - np.array(mean)) / np.array(std)
    found = jax.jit(normalise, static_argnums=(1, 2))(image, mean, std)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="dtype float32"):
        normalise(expected.astype(np.float32), mean, std)
    with pytest.raises(ValueError, match=r"uint8 image \[..., H, W, 3\]"):
        normalise(image[..., :1], mean, std)


def test_drop_path_is_off_by_default_and_off_in_evaluation():
    params, image = made(TINY), images()
    plain = forward(TINY, params, image).pooled
    dropping = TINY.replace(drop_path=0.5)
    np.testing.assert_array_equal(forward(dropping, params, image).pooled, plain)
    np.testing.assert_array_equal(
        forward(TINY, params, image, train=True).pooled, plain
    )


@pytest.mark.slow
def test_drop_path_leaves_out_branches_by_example():
    """Each branch of each example is left out whole, or stays and is scaled."""
    drop = 0.4
    config = TINY.replace(layerscale=1.0)
    params = made(config)["blocks_0"]
    x = np.tile(images()[:1].reshape(1, -1, 48)[:, :5], (400, 1, 1))
    # Without the second branch what is left is attention's, kept or not.
    params["ls2"]["gamma"] = np.zeros_like(params["ls2"]["gamma"])
    whole = Block(config).apply({"params": params}, x[:1])[0] - x[0]
    module, rngs = Block(config.replace(drop_path=drop)), {"dropout": jax.random.key(0)}
    sampled = quick_jit(
        lambda p, x: module.apply({"params": p}, x, drop, True, rngs=rngs)
    )
    out = np.asarray(sampled(params, x)) - x
    kept = np.abs(out).max(axis=(1, 2)) > 0
    scaled = np.broadcast_to(whole / (1 - drop), (kept.sum(), 5, 48))
    np.testing.assert_allclose(out[kept], scaled, rtol=1e-4, atol=1e-5)
    # 400 draws: standard deviation 0.0245.
    assert abs(kept.mean() - (1 - drop)) < 0.1


def test_bfloat16_computes_in_it_and_keeps_float32_parameters():
    config = TINY.replace(dtype="bfloat16")
    params, image = made(TINY), images()
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes(config)[0])} == {
        jnp.dtype("float32")
    }
    full, half = (forward(c, params, image).pooled for c in (TINY, config))
    assert half.dtype == jnp.float32  # the final norm is
    # bfloat16 has 8 bits of mantissa; outputs have a standard deviation of about 1.
    gap = np.abs(full - half).max()
    assert 1e-4 < gap < 0.15


def test_tanh_gelu_differs_a_little():
    params, image = made(TINY), images()
    exact, tanh = (
        forward(TINY.replace(gelu=kind), params, image).pooled
        for kind in ("exact", "tanh")
    )
    assert 0 < np.abs(exact - tanh).max() < 0.01
