"""The autoencoder's halves: shapes, the mean alone, and the covariate."""

import jax
import numpy as np

from pathjax.models.vae import LatentDecoder, LatentEncoder


def test_the_mean_alone_is_that_of_the_posterior():
    genes = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    whole = LatentEncoder((8, 4), 2)
    params = whole.init(jax.random.key(0), genes)["params"]
    mean, log_var = whole.apply({"params": params}, genes)
    assert mean.shape == log_var.shape == (3, 2)
    alone = LatentEncoder((8, 4), 2, mean_only=True)
    rest = {name: one for name, one in params.items() if name != "log_var"}
    shapes = jax.eval_shape(alone.init, jax.random.key(0), genes)["params"]
    assert jax.tree.structure(shapes) == jax.tree.structure(rest)
    np.testing.assert_array_equal(alone.apply({"params": rest}, genes), mean)


def test_the_decoder_reads_the_covariate():
    latent = np.ones((2, 3), np.float32)
    decoder = LatentDecoder((4,), 6)
    covariate = np.eye(2, dtype=np.float32)
    params = decoder.init(jax.random.key(0), latent, covariate)
    rate, dispersion = decoder.apply(params, latent, covariate)
    assert rate.shape == (2, 6) and dispersion.shape == (6,)
    assert not np.allclose(rate[0], rate[1])
    assert params["params"]["mlp"]["fc1"]["kernel"].shape == (5, 4)
