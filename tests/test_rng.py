"""Streams are reproducible, separate, and the same inside jit and on many devices."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax.rng import stream


def bits(key):
    return np.asarray(jax.random.key_data(key)).tolist()


def test_is_the_documented_formula():
    key = jax.random.key(3)
    wanted = jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(b"dropout")), 7)
    assert bits(stream(3, "dropout", 7)) == bits(wanted)


def test_seed_and_key_agree_and_jit_changes_nothing():
    eager = bits(stream(5, "init", 2))
    assert bits(stream(jax.random.key(5), "init", 2)) == eager
    traced = jax.jit(lambda key, step: stream(key, "init", step))
    assert bits(traced(jax.random.key(5), jnp.int32(2))) == eager


def test_every_argument_matters():
    keys = [
        tuple(bits(stream(seed, name, step)))
        for seed in (0, 1)
        for name in ("a", "b", "dropout", "init")
        for step in (0, 1, 2**31 - 1)
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("seed", [jnp.zeros(2, jnp.uint32), jnp.int32(3)])
def test_an_untyped_key_is_refused(seed):
    with pytest.raises(TypeError, match=r"jax\.random\.key"):
        stream(seed, "init", 0)


def test_many_keys_are_refused():
    with pytest.raises(TypeError, match="one typed key"):
        stream(jax.random.split(jax.random.key(0), 2), "init", 0)
