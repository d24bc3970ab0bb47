"""Named streams of randomness: a function of (seed, stream name, step), never stored.

A key is derived where it is used, so a resumed run draws what an undisturbed one would
have drawn, and adding a consumer of randomness changes no other. This module knows
nothing of hosts or devices: parameters and masks must not depend on either.
"""

import zlib

import jax


def stream(seed: int | jax.Array, name: str, step: int | jax.Array) -> jax.Array:
    """Returns the typed key of stream `name` at `step`.

    It is `fold_in(fold_in(seed, crc32(name)), step)`: CRC-32 because it is the same on
    every host and in every Python process, as `hash` is not.

    Args:
      seed: the run's seed as an integer, or a typed key (`jax.random.key`).
      name: the stream, such as "dropout"; one name per independent use.
      step: the training step, Python integer or traced scalar, at least 0.

    Raises:
      TypeError: if `seed` is an array that is not one typed key.
    """
    if isinstance(seed, jax.Array):
        if not jax.dtypes.issubdtype(seed.dtype, jax.dtypes.prng_key) or seed.ndim:
            raise TypeError(
                f"found a seed of dtype {seed.dtype} and shape {seed.shape}; wanted "
                "an integer or one typed key: make it with jax.random.key(seed)"
            )
        key = seed
    else:
        key = jax.random.key(seed)
    key = jax.random.fold_in(key, zlib.crc32(name.encode()))
    return jax.random.fold_in(key, step)
