"""Vision transformer in Flax Linen: normalised image in, CLS, patches and pool out.

Semantics are those of timm's `VisionTransformer`, so that published pathology models
can be converted name by name: pre-norm blocks, LayerNorm with eps 1e-6, one linear for
q, k, v (in that order, heads inner), exact-erf GELU, LayerScale where configured,
tokens in the order CLS, registers, patches, and the final norm before the pool.

Parameters carry timm's names. Every linear is `kernel [in, out]` and `bias [out]` (the
transpose of PyTorch's weight). The patch embedding is a matrix product over flattened
patches in (row, column, channel) order: its `kernel [p*p*3, D]` is timm's convolution
weight `[D, 3, p, p]` as `weight.transpose(2, 3, 1, 0).reshape(p * p * 3, D)`.

Parameters are float32. Matrix products run in `config.dtype`; norms and softmax are
float32 whatever it is. With `config.scan` the blocks are one stack, `blocks`, with a
leading axis over depth (`blocks.py` has both layouts). Converting weights and merging
adapters are not done here.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, UInt8

from pathjax.models.attention import attend
from pathjax.models.blocks import STACKED, block_name
from pathjax.models.layer_norm import LayerNorm
from pathjax.models.linear import dense
from pathjax.models.lora import DOWN, UP, LoRA
from pathjax.models.positions import resize_positions
from pathjax.models.variants import VARIANTS, ViTConfig, nearest_multiples, vit_config
from pathjax.parallel.mesh import keep_rows

__all__ = ["VARIANTS", "ViT", "ViTConfig", "ViTOutputs", "normalise", "vit_config"]

# timm's initialisers: linear kernels and positions N(0, 0.02^2), truncated; tokens
# close to 0; the patch convolution as PyTorch's default, U(+-1/sqrt(fan in)).
LINEAR_INIT = nn.initializers.truncated_normal(0.02)
TOKEN_INIT = nn.initializers.normal(1e-6)
# PyTorch's default for a linear, which the paper's code uses for A.
LORA_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
PATCH_INIT = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def normalise(
    image: UInt8[Array, "... H W 3"],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    dtype: str = "float32",
) -> Float[Array, "... H W 3"]:
    """Returns (image / 255 - mean) / std by channel, computed in float32.

    Raises:
      ValueError: if the image is not uint8 with 3 channels last.
    """
    if image.dtype != jnp.uint8 or image.ndim < 3 or image.shape[-1] != 3:
        raise ValueError(
            f"expected a uint8 image [..., H, W, 3], got shape {image.shape} and dtype "
            f"{image.dtype}: pixels stay uint8 until they are on the device"
        )
    channels = (1,) * (image.ndim - 1) + (3,)
    scale = jnp.asarray([1 / (255 * s) for s in std], jnp.float32).reshape(channels)
    shift = jnp.asarray([m / s for m, s in zip(mean, std, strict=True)], jnp.float32)
    return (image.astype(jnp.float32) * scale - shift.reshape(channels)).astype(dtype)


@struct.dataclass
class ViTOutputs:
    """The outputs of a forward pass, all after the final norm."""

    pooled: Float[Array, "B E"]
    cls: Float[Array, "B D"]
    patches: Float[Array, "B N D"]


class Linear(nn.Module):
    """x @ kernel + bias over the last axis; `linear.dense` is the product.

    Attributes:
      features: of the output.
      dtype: of the product.
      kernel_init: of the kernel; the bias starts at 0.
      lora: adapters, None for none. `lora_a [in, r]` starts as the kernel of a linear
        does and `lora_b [r, out]` at 0, so that an adapted model starts as its base.
    """

    features: int
    dtype: Any
    kernel_init: nn.initializers.Initializer = LINEAR_INIT
    lora: LoRA | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... F"]:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[1:], jnp.float32)
        y = dense(x, kernel, bias, self.dtype)
        return y if self.lora is None else y + self.low_rank(x)

    def low_rank(self, x: Float[Array, "... C"]) -> Float[Array, "... F"]:
        assert self.lora is not None
        rank = self.lora.rank
        down = self.param(DOWN, LORA_INIT, (x.shape[-1], rank), jnp.float32)
        up = self.param(UP, nn.initializers.zeros, (rank, self.features), jnp.float32)
        inner = dense(x, down, jnp.zeros(rank, jnp.float32), self.dtype)
        y = dense(inner, up, jnp.zeros(self.features, jnp.float32), self.dtype)
        return y * jnp.asarray(self.lora.scale, y.dtype)


def linear(config: ViTConfig, features: int, name: str) -> Linear:
    """A block's linear, with adapters if the config has them."""
    adapted = config.lora is not None and name in config.lora.targets
    lora = config.lora if adapted else None
    return Linear(features, jnp.dtype(config.dtype), lora=lora, name=name)


class Attention(nn.Module):
    """Multi-head self-attention over [B, N, D]; softmax in float32."""

    config: ViTConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        batch, tokens, width = x.shape
        heads = self.config.heads
        qkv = linear(self.config, 3 * width, "qkv")(x)
        qkv = qkv.reshape(batch, tokens, 3, heads, width // heads)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # each (B, heads, N, d)
        y = attend(q, k, v, self.config.attention)
        y = y.transpose(0, 2, 1, 3).reshape(batch, tokens, width)
        return linear(self.config, width, "proj")(y)


def gelu_exact(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x times the normal distribution function (Hendrycks & Gimpel 2016), by erf."""
    return 0.5 * x * (1 + jax.lax.erf(x * 0.5**0.5))


class Mlp(nn.Module):
    """Two linears with GELU between, or packed SwiGLU (Shazeer 2020)."""

    config: ViTConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        cfg = self.config
        if cfg.mlp == "swiglu":
            gate_value = linear(cfg, 2 * cfg.mlp_dim, "fc1")(x)
            gate, value = jnp.split(gate_value, 2, axis=-1)
            h = jax.nn.silu(gate) * value
        else:
            gelu = gelu_exact if cfg.gelu == "exact" else nn.gelu
            h = gelu(linear(cfg, cfg.mlp_dim, "fc1")(x))
        return linear(cfg, x.shape[-1], "fc2")(h)


class Block(nn.Module):
    """x + ls1(attention(norm1 x)), then x + ls2(mlp(norm2 x)).

    `drop` is the probability of omitting a branch, sampled for each example and branch;
    the others are divided by 1 - drop, so that the expectation is unchanged.
    """

    config: ViTConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "B N D"], drop: float | Array = 0.0, train: bool = False
    ) -> Float[Array, "B N D"]:
        cfg = self.config
        y = Attention(cfg, name="attn")(LayerNorm(cfg.norm_eps, name="norm1")(x))
        x = x + self.branch(y, "ls1", drop, train)
        y = Mlp(cfg, name="mlp")(LayerNorm(cfg.norm_eps, name="norm2")(x))
        return x + self.branch(y, "ls2", drop, train)

    def branch(self, y: Float[Array, "B N D"], name: str, drop, train: bool):
        if self.config.layerscale is not None:
            y = y * LayerScale(self.config.layerscale, name=name)(y)
        if train and self.config.drop_path > 0:
            keep = 1 - drop
            kept = jax.random.bernoulli(
                self.make_rng("dropout"), keep, (y.shape[0], 1, 1)
            )
            y = jnp.where(kept, y / keep, 0).astype(y.dtype)
        return y


class LayerScale(nn.Module):
    """A learned factor per channel, `gamma [D]`, shaped to multiply `like`."""

    initial: float

    @nn.compact
    def __call__(self, like: Float[Array, "B N D"]) -> Float[Array, "1 1 D"]:
        init = nn.initializers.constant(self.initial)
        gamma = self.param("gamma", init, like.shape[-1:], jnp.float32)
        return gamma.astype(like.dtype)[None, None]


class ViT(nn.Module):
    """The encoder. `apply({"params": p}, image, train=..., rngs={"dropout": key})`.

    Any image whose sides are multiples of the patch will do: where its grid differs
    from the configured one the position embedding is resized at forward.
    """

    config: ViTConfig

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], *, train: bool = False
    ) -> ViTOutputs:
        cfg = self.config
        x, grid = self.patchify(image)  # (B, N, p*p*3)
        embed = Linear(cfg.width, jnp.dtype(cfg.dtype), PATCH_INIT, name="patch_embed")
        x = keep_rows(self.add_prefix_and_positions(embed(x), grid))
        x = self.blocks(x, train)
        x = LayerNorm(cfg.norm_eps, name="norm")(x)
        cls, patches = x[:, 0], x[:, 1 + cfg.registers :]
        pools = {"cls": lambda: cls, "mean": lambda: patches.mean(axis=1)}
        pools["cls_mean"] = lambda: jnp.concatenate([cls, patches.mean(axis=1)], -1)
        return ViTOutputs(pooled=pools[cfg.pool](), cls=cls, patches=patches)

    def blocks(self, x: Float[Array, "B T D"], train: bool) -> Float[Array, "B T D"]:
        cfg = self.config
        rates = [cfg.drop_path * i / max(cfg.depth - 1, 1) for i in range(cfg.depth)]
        # Under scan the loop keeps blocks apart by itself, and the barrier that stops
        # XLA from merging them would only cost.
        block = Block
        if cfg.remat:
            block = nn.remat(Block, prevent_cse=not cfg.scan, static_argnums=(3,))
        if not cfg.scan:
            for i, rate in enumerate(rates):
                x = keep_rows(block(cfg, name=block_name(i))(x, rate, train))
            return x
        stack = nn.scan(
            lambda module, x, rate: (keep_rows(module(x, rate, train)), None),
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            length=cfg.depth,
        )
        x, _ = stack(block(cfg, name=STACKED), x, jnp.asarray(rates, jnp.float32))
        return x

    def patchify(self, image: Float[Array, "B H W 3"]):
        batch, height, width, channels = image.shape
        p = self.config.patch
        if height % p or width % p or channels != 3:
            raise ValueError(
                f"expected an image [B, H, W, 3] with H and W multiples of the patch, {p}, "
                f"got shape {image.shape}: crop or resize the tiles to "
                f"{nearest_multiples(height, p)} px"
            )
        rows, columns = height // p, width // p
        x = image.reshape(batch, rows, p, columns, p, 3).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(batch, rows * columns, p * p * 3), (rows, columns)

    def add_prefix_and_positions(
        self, x: Float[Array, "B N D"], grid: tuple[int, int]
    ) -> Float[Array, "B T D"]:
        cfg = self.config
        width, prefix = cfg.width, 1 + cfg.registers
        cls = self.param("cls_token", TOKEN_INIT, (1, 1, width), jnp.float32)
        tokens = [cls]
        if cfg.registers:
            shape = (1, cfg.registers, width)
            tokens.append(self.param("reg_token", TOKEN_INIT, shape, jnp.float32))
        embedded = 0 if cfg.no_embed_class else prefix  # prefix tokens with a position
        shape = (1, embedded + cfg.grid**2, width)
        positions = self.param("pos_embed", LINEAR_INIT, shape, jnp.float32)
        old = (cfg.grid, cfg.grid)
        resized = resize_positions(positions[:, embedded:], old, grid, cfg.positions)
        x = x + resized.astype(x.dtype)
        start = jnp.concatenate(tokens, axis=1)  # (1, 1 + registers, D)
        if embedded:
            start = start + positions[:, :embedded]
        start = jnp.broadcast_to(start.astype(x.dtype), (x.shape[0], prefix, width))
        return jnp.concatenate([start, x], axis=1)
