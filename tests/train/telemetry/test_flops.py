"""FLOPs against formulas, and against XLA's own count where it has no loop."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

from pathjax import objectives
from pathjax.models.vit import vit_config
from pathjax.parallel.mesh import make_mesh
from pathjax.train.telemetry.flops import Flops, jaxpr_flops

TINY = vit_config("Xs/8", image_px=16, width=24, heads=2, mlp_dim=48, depth=3)
BATCH = {
    "image": jax.ShapeDtypeStruct((4, 2, 16, 16, 3), jnp.uint8),
    "expression": jax.ShapeDtypeStruct((4, 10), jnp.float32),
    "mask": jax.ShapeDtypeStruct((4,), bool),
    "pair_id": jax.ShapeDtypeStruct((4,), jnp.int32),
}


def like(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def count_flops(function, *arguments):
    return jaxpr_flops(jax.make_jaxpr(function)(*arguments))


def test_products_and_convolutions():
    assert count_flops(jnp.matmul, like(3, 5), like(5, 7)) == Flops(2 * 3 * 5 * 7, True)
    batched = count_flops(jnp.matmul, like(4, 3, 5), like(4, 5, 7))
    assert batched.total == 2 * 4 * 3 * 5 * 7

    def convolve(x, k):
        return jax.lax.conv_general_dilated(x, k, (1, 1), "VALID")

    # [N, C, H, W] and [O, C, h, w]
    found = count_flops(convolve, like(2, 3, 8, 8), like(6, 3, 3, 3))
    assert found.total == 2 * (2 * 6 * 6 * 6) * (3 * 3 * 3)


def test_repetitions_branches_and_devices():
    def looped(x):
        return jax.lax.scan(lambda c, _: (c @ c, None), x, None, 7)[0]

    assert count_flops(looped, like(4, 4)) == Flops(7 * 2 * 4**3, True)
    assert count_flops(jax.vmap(looped), like(3, 4, 4)).total == 3 * 7 * 2 * 4**3

    def until(x):
        return jax.lax.while_loop(lambda c: c[0, 0] < 9, lambda c: c @ c, x)

    assert count_flops(until, like(4, 4)) == Flops(2 * 4**3, False)

    def either(x):
        return jax.lax.cond(x[0, 0] > 0, lambda x: x @ x @ x, lambda x: x @ x, x)

    assert count_flops(either, like(4, 4)).total == 2 * 2 * 4**3
    mapped = jax.shard_map(
        lambda x: x @ x.T,
        mesh=make_mesh(2, 4),
        in_specs=PartitionSpec(("data", "fsdp")),
        out_specs=PartitionSpec(("data", "fsdp")),
    )
    assert count_flops(mapped, like(16, 5)).total == 8 * 2 * 2 * 5 * 2


def test_what_nothing_depends_on_costs_nothing():
    def f(x):
        _ = x @ x
        return x.sum()

    assert count_flops(f, like(4, 4)).total == 0


def gradient_flops(vit, **options):
    objective = objectives.build(
        "contrastive", objectives.Spec(vit, 10), widths=(12,), **options
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, _ = jax.eval_shape(objective.init, key, BATCH)

    def loss(params, batch, key):
        return objectives.batch_losses(objective, params, {}, batch, key, 0, True)[
            0
        ].sum()

    return jax.grad(loss), (params, BATCH, key)


@pytest.mark.slow
def test_a_scanned_encoder_costs_what_an_unrolled_one_does():
    plain = count_flops(*_flat(gradient_flops(TINY)))
    assert plain.exact
    scanned = dataclasses.replace(TINY, scan=True)
    assert count_flops(*_flat(gradient_flops(scanned))) == plain
    remat = dataclasses.replace(scanned, remat=True)
    again = count_flops(*_flat(gradient_flops(remat)))
    assert again.total > 1.2 * plain.total
    assert again == count_flops(
        *_flat(gradient_flops(dataclasses.replace(TINY, remat=True)))
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_count_is_xla_s_but_for_what_is_no_product(dtype):
    """Its count has elementwise work too, which is little in wide layers."""
    wide = TINY.replace(width=96, mlp_dim=192, dtype=dtype)
    grad, arguments = gradient_flops(wide)
    ours = count_flops(grad, *arguments).total
    theirs = jax.jit(grad).lower(*arguments).cost_analysis()["flops"]
    assert 0.8 * theirs < ours <= theirs


def _flat(pair):
    return pair[0], *pair[1]
