"""scipy is the oracle of the minimiser that goes down many losses at once."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from pathjax.evals.probes.lbfgs import (
    KEPT,
    Point,
    along_path,
    descend,
    no_pairs,
    origin,
    settled,
)

RNG = np.random.default_rng(0)
# Three convex losses of 4 x 2 parameters, of different scales.
TARGETS = RNG.normal(size=(3, 4, 2)).astype(np.float32)
SCALES = np.array([1.0, 3.0, 0.1], np.float32)


def each(params, target, scale):
    away = (params - target) * jnp.linspace(0.3, 3.0, 4)[:, None]
    return scale * jnp.sum(jnp.log(jnp.cosh(away))) + 0.05 * jnp.sum(params**2)


def evaluate(params):
    found = jax.vmap(jax.value_and_grad(each))(params, TARGETS, SCALES)
    return Point(params, *found, more=jnp.zeros(3))


def largest(gradient):
    return jnp.abs(gradient).max(axis=(1, 2))


def run(point, pairs, *, steps=100, tolerance=1e-3, function=evaluate):
    descent = jax.jit(
        lambda point, pairs: descend(
            function, point, pairs,
            precondition=lambda vector, _: vector,
            largest=largest, steps=steps, tolerance=tolerance,
        )
    )  # fmt: skip
    return descent(point, pairs)


def minima():
    for target, scale in zip(TARGETS, SCALES, strict=True):
        found = scipy.optimize.minimize(
            lambda flat, t=target, s=scale: float(each(flat.reshape(4, 2), t, s)),
            np.zeros(8),
            jac=lambda flat, t=target, s=scale: np.asarray(
                jax.grad(each)(jnp.asarray(flat.reshape(4, 2), jnp.float32), t, s)
            ).ravel().astype(float),
            options={"gtol": 1e-5},
        )  # fmt: skip
        yield found.x.reshape(4, 2)


def test_each_fit_ends_at_its_own_minimum_in_its_own_steps():
    start = jnp.zeros((3, 4, 2))
    point, pairs, count = run(evaluate(start), no_pairs(start))
    for found, wanted in zip(point.params, minima(), strict=True):
        np.testing.assert_allclose(found, wanted, atol=2e-2)
    assert (largest(point.gradient) <= 1e-3).all()
    assert len(set(count.tolist())) > 1 and int(count.max()) < 60
    again = evaluate(point.params).value  # not compiled: float32 rounds elsewhere
    np.testing.assert_allclose(point.value, again, rtol=1e-6)
    assert pairs.moves.shape == (KEPT, 3, 4, 2)


def test_what_is_known_of_the_curvature_shortens_the_way():
    start = jnp.zeros((3, 4, 2))
    point, pairs, cold = run(evaluate(start), no_pairs(start))
    moved = evaluate(point.params + 0.05)
    _, _, warm = run(moved, pairs)
    _, _, anew = run(moved, no_pairs(start))
    assert warm.sum() < anew.sum() < cold.sum()


def test_a_fit_that_rounding_stops_ends_by_itself_and_the_others_go_on():
    start = jnp.zeros((3, 4, 2))

    def broken(params):
        point = evaluate(params)
        # The first loss seems to grow wherever it goes.
        worse = jnp.where(jnp.any(params[0] != 0), 1e3, 0.0)
        return point._replace(value=point.value.at[0].add(worse))

    point, _, count = run(broken(start), no_pairs(start), function=broken)
    assert not point.params[0].any() and 10 < int(count[0]) < 40
    assert (largest(point.gradient)[1:] <= 1e-3).all()


def test_no_fit_takes_more_steps_than_it_may():
    start = jnp.zeros((3, 4, 2))
    _, _, count = run(evaluate(start), no_pairs(start), steps=3, tolerance=0.0)
    assert count.tolist() == [3, 3, 3]


def test_a_path_ends_at_the_ridge_minimum_of_each_strength():
    """The last of four parameters has no penalty."""
    strengths = np.array([3.0, 0.3, 0.03], np.float32)
    path = jax.jit(
        lambda strengths: along_path(
            evaluate, strengths, jnp.zeros((3, 4, 2)),
            curvature=jnp.ones(4), free=1,
            precondition=lambda strength, vector, point: vector / (1 + strength),
            read=lambda point: point.params, steps=100, tolerance=1e-4,
        )
    )  # fmt: skip
    params, count, gradient = path(strengths)
    assert params.shape == (3, 3, 4, 2) and (gradient <= 1e-4).all()
    held = np.array([1, 1, 1, 0])[:, None]
    for strength, found in zip(strengths, params, strict=True):
        for own, target, scale in zip(found, TARGETS, SCALES, strict=True):

            def loss(params, target=target, scale=scale, strength=strength):
                penalty = 0.5 * strength * jnp.sum((held * params) ** 2)
                return each(params, target, scale) + penalty

            both = jax.jit(jax.value_and_grad(loss))
            wanted = scipy.optimize.minimize(
                lambda flat, f=both: [
                    np.asarray(part, float).ravel().squeeze()
                    for part in f(flat.reshape(4, 2).astype(np.float32))
                ],
                np.zeros(8),
                jac=True,
                options={"gtol": 1e-5},
            ).x
            np.testing.assert_allclose(own.reshape(-1), wanted, atol=5e-3)
    alone = path(strengths[2:])[1]
    assert count[2].sum() < alone.sum()


def test_sums_of_a_product_with_the_origin_are_zero():
    x = np.random.default_rng(0).normal(size=(2048, 384)).astype(np.float32)
    product = jax.jit(lambda x: x @ origin(1, 384, 9)[0])
    sums = jax.jit(lambda x: jax.nn.softmax(x @ origin(1, 384, 9)[0], axis=1))
    assert not np.any(product(x))
    np.testing.assert_allclose(sums(x), 1 / 9, rtol=1e-6)


def test_a_loss_that_is_not_a_number_is_never_at_its_minimum():
    point = evaluate(np.zeros((3, 4, 2), np.float32))
    point = point._replace(value=jnp.array([1.0, jnp.nan, jnp.inf]))
    found = np.asarray(settled(point, jnp.zeros(3)))
    np.testing.assert_equal(found, [0, np.inf, np.inf])
