"""The divergence against numerical integration by SciPy."""

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from pathjax.losses.latent import kl_to_normal


def test_it_is_the_integral():
    random = np.random.default_rng(0)
    mean = random.normal(size=(3, 2)).astype(np.float32)
    log_var = random.normal(size=(3, 2)).astype(np.float32)

    def divergence(m, v):
        q = norm(m, np.exp(v / 2))
        return quad(lambda x: q.pdf(x) * (q.logpdf(x) - norm.logpdf(x)), -20, 20)[0]

    expected = [
        sum(divergence(m, v) for m, v in zip(*row, strict=True))
        for row in zip(mean, log_var, strict=True)
    ]
    np.testing.assert_allclose(kl_to_normal(mean, log_var), expected, rtol=1e-4)
    zeros = np.zeros((2, 4), np.float32)
    np.testing.assert_array_equal(kl_to_normal(zeros, zeros), 0)
