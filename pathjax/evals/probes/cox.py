"""Penalised Cox regression: `cox_sweep` the solver, `Cox` the probe.

    x, times and events, FoldWeights, grid -> one jitted program -> Sweep
    Sweep.prediction [R, Q, 1 + K]: the log relative hazard, then S(t) at GRID

Probe seeds and inner folds are fitted side by side, each down the strengths on the axes
of its rows. The strength is the one of the best concordance over the held-out rows, each
pair inside one inner fold; ties go to the stronger. Survival curves are Breslow's.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from pathjax.evals.folds import FoldWeights
from pathjax.evals.probes.base import over_devices, pad
from pathjax.evals.probes.lbfgs import Point, along_path, origin
from pathjax.evals.probes.sweep import (
    EXACT,
    GridProbe,
    Sweep,
    choose,
    moments,
    powers_of_ten,
    rotated,
    side_by_side,
)
from pathjax.stats.survival import GRID

BLOCK = 64  # of a running sum
FAR_BELOW = -1e9  # a log hazard of rows that do not count; finite, so that 0 * it is 0


@dataclasses.dataclass(frozen=True)
class Cox(GridProbe):
    """Cox's proportional hazards with an elastic net.

    Attributes:
      penalty: The grid, per unit of sample weight: scikit-survival's alpha is penalty * n
        in CoxPHSurvivalAnalysis.
      l1_ratio: Share of the penalty that is of the absolute coefficients; the rest is of
        half their squares.
      steps, tolerance: Of L-BFGS (without l1), or of proximal steps.
    """

    kinds = ("survival",)
    penalty: tuple[float, ...] = powers_of_ten(2, -2, 20)
    l1_ratio: float = 0.0
    steps: int = 300
    tolerance: float = 1e-4

    @property
    def grid(self):
        return self.penalty

    def info(self, sweep):
        return {
            "solver_steps": [int(count) for count in sweep.steps],
            "converged": bool((sweep.gradient <= self.tolerance).all()),
        }

    def fit_arrays(self, x, y, weights: FoldWeights, query, *, classes=0, fit_values=0):
        """As GridProbe's; `y` is months and events `[N, 2]`, in their own units."""
        # Events before the censored of the same time, as risk sets need no order there.
        order = np.lexsort([-y[:, 1], y[:, 0]])
        time, event = y[order].T.astype(np.float64)
        first = np.searchsorted(time, time).astype(np.int32)
        held, real = held_out_rows(weights.val[:, :, order])
        rows = len(pad(time))
        first = np.append(first, np.arange(len(time), rows)).astype(np.int32)
        before = (time[None, :] <= GRID[:, None]).astype(np.float32)
        x, query = (np.asarray(part, np.float32) for part in (x[order], query))
        asked = len(query)
        if x.shape[1] > rows:
            # Genes of zeros tell nothing: cohorts of about one size share a compile.
            x, query = pad(x, 1), pad(query, 1)
        shared = [
            pad(x),
            np.append(time, np.full(rows - len(time), np.inf)).astype(np.float32),
            pad(event > 0),
            first,
            pad(before, 1),
            held,
            real,
            np.asarray(self.grid, np.float32),
            pad(query),
        ]
        run = functools.partial(
            cox_sweep,
            final=weights.final,
            l1_ratio=self.l1_ratio,
            steps=self.steps,
            tolerance=self.tolerance,
        )
        each = [pad(part[:, :, order], 2) for part in (weights.train, weights.val)]
        sweep = over_devices(run, shared, each)
        return sweep._replace(prediction=sweep.prediction[:, :asked])


def held_out_rows(
    val: Float[np.ndarray, "R F N"],
) -> tuple[Int[np.ndarray, "F V"], Bool[np.ndarray, "F V"]]:
    """Which rows some seed holds out in each fold, padded to one length; which are real.

    Seeds share their inner folds, so that pairs are those of a fold and not of all rows.
    """
    rows = [np.flatnonzero(one) for one in np.any(val > 0, axis=0)]
    most = len(pad(np.zeros(max(1, *map(len, rows)), bool)))
    held = np.zeros((len(rows), most), np.int32)
    real = np.zeros((len(rows), most), bool)
    for fold, own in enumerate(rows):
        held[fold, : len(own)], real[fold, : len(own)] = own, True
    return held, real


def running_sum(values: Float[Array, "N"]) -> Float[Array, "N"]:
    """`jnp.cumsum` as two small matrix products, which compile in a tenth of its time."""
    rows = len(values)
    blocks = jnp.pad(values, (0, -rows % BLOCK)).reshape(-1, BLOCK)
    inside = jnp.matmul(blocks, jnp.triu(jnp.ones((BLOCK, BLOCK))), precision=EXACT)
    many = len(blocks)
    before = jnp.matmul(
        inside[:, -1], jnp.triu(jnp.ones((many, many)), 1), precision=EXACT
    )
    return (inside + before[:, None]).reshape(-1)[:rows]


def _tied(event, first, weight):
    """What Efron's likelihood needs of ties among the rows that count.

    Returns:
      Which rows are events that count; the mean weight of those of the same time; and
      the share of them, 0 for the first, that each leaves out of its risk set.
    """
    alive = (event & (weight > 0)).astype(jnp.float32)

    def of_time(values):
        return jax.ops.segment_sum(values, first, len(first), indices_are_sorted=True)[
            first
        ]

    count = jnp.maximum(of_time(alive), 1.0)
    before = running_sum(alive) - alive
    return alive, of_time(alive * weight) / count, (before - before[first]) / count


def _at_risk(hazard, alive, first):
    """Sums of the relative hazards of those at risk and, of them, of those who die."""
    risk = running_sum(hazard[::-1])[::-1][first]
    dying = jax.ops.segment_sum(
        alive * hazard, first, len(first), indices_are_sorted=True
    )
    return risk, dying[first]


def cox_loss(
    eta: Float[Array, "N"],
    event: Bool[Array, "N"],
    first: Int[Array, "N"],
    weight: Float[Array, "N"],
) -> Float[Array, ""]:
    """Mean negative log partial likelihood with Efron's ties, under row weights.

    Efron 1977, doi:10.1080/01621459.1977.10480613; weights as in R's coxph: a tied event
    counts with the mean weight of its time's events (Therneau & Grambsch 2000, ch. 3.3).

    Args:
      eta: Log relative hazards of rows in order of time.
      event, first: Events, and the first row of the same time.
      weight: How often rows count.
    """
    return cox_value_and_slope(eta, first, weight, _tied(event, first, weight))[0]


def cox_value_and_slope(eta, first, weight, tied):
    """`cox_loss` and its derivatives by eta `[N]`, of what `_tied` gives.

    Written out: of its own accord the gradient scatters where sums are enough, and takes
    twice as long to compile.
    """
    alive, mean_weight, share = tied
    eta = jnp.where(weight > 0, eta, FAR_BELOW)
    eta = eta - eta.max()
    hazard = weight * jnp.exp(eta)
    risk, dying = _at_risk(hazard, alive, first)
    left = jnp.maximum(jnp.where(alive > 0, risk - share * dying, 1.0), 1e-30)
    gain = alive * (weight * eta - mean_weight * jnp.log(left))
    # A row is at risk in the terms of all times up to its own.
    term = alive * mean_weight / left
    sums = (
        jnp.zeros((len(first), 2))
        .at[first]
        .add(jnp.stack([term, term * share], axis=1), indices_are_sorted=True)
    )
    own = running_sum(sums[:, 0]) - alive * sums[first, 1]
    total = jnp.maximum(weight.sum(), 1e-9)
    return -gain.sum() / total, (hazard * own - alive * weight) / total


def minimise_l1(loss, start, l1, steps: int, tolerance):
    """Proximal gradient with momentum: loss(params) + l1 * |params|, one array.

    Beck & Teboulle 2009 (FISTA, doi:10.1137/080716542) with backtracking, restarted where
    the momentum points uphill (O'Donoghue & Candes 2015).

    Returns:
      Parameters, steps taken, and the largest entry of the last generalised gradient.
    """
    value_and_grad = jax.value_and_grad(loss)

    def shrink(at, by):
        return jnp.sign(at) * jnp.maximum(jnp.abs(at) - by, 0.0)

    def advance(carry):
        params, ahead, momentum, rate, count, _ = carry
        value, grad = value_and_grad(ahead)

        def too_long(tried):
            rate, halvings = tried
            new = shrink(ahead - rate * grad, rate * l1)
            away = new - ahead
            bound = value + jnp.sum(grad * away) + jnp.sum(away**2) / (2 * rate)
            # float32 cannot see a smaller difference
            return (loss(new) > bound + 1e-6 * jnp.abs(value)) & (halvings < 30)

        rate, _ = jax.lax.while_loop(
            too_long, lambda tried: (tried[0] / 2, tried[1] + 1), (rate, 0)
        )
        new = shrink(ahead - rate * grad, rate * l1)
        moved = (ahead - new) / rate
        uphill = jnp.sum((ahead - new) * (new - params)) > 0
        following = jnp.where(uphill, 1.0, (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2)
        push = jnp.where(uphill, 0.0, (momentum - 1) / following)
        ahead = new + push * (new - params)
        return new, ahead, following, rate * 1.1, count + 1, jnp.max(jnp.abs(moved))

    def unfinished(carry):
        return (carry[4] < steps) & (carry[5] > tolerance)

    begin = (start, start, jnp.float32(1), jnp.float32(1), 0, jnp.float32(jnp.inf))
    params, _, _, _, count, gradient = jax.lax.while_loop(unfinished, advance, begin)
    return params, count, gradient


def _concordant(risk, time, event, weight):
    """Weights of pairs in the wrong order (ties count half), and of comparable pairs."""
    pair = weight[:, None] * weight[None, :] * event[:, None]
    later = time[None, :] > time[:, None]
    pair = pair * (later | ((time[None, :] == time[:, None]) & ~event[None, :]))
    away = risk[:, None] - risk[None, :]
    return jnp.sum(pair * jnp.where(away == 0, 0.5, away < 0)), pair.sum()


@functools.partial(jax.jit, static_argnames=("final", "l1_ratio", "steps"))
def cox_sweep(
    x: Float[Array, "N E"],
    time: Float[Array, "N"],
    event: Bool[Array, "N"],
    first: Int[Array, "N"],
    before: Float[Array, "K N"],
    held: Int[Array, "F V"],
    real: Bool[Array, "F V"],
    penalty: Float[Array, "S"],
    query: Float[Array, "Q E"],
    train: Float[Array, "R F N"],
    val: Float[Array, "R F N"],
    *,
    final: int,
    l1_ratio: float = 0.0,
    steps: int = 300,
    tolerance: float = 1e-4,
) -> Sweep:
    """Fits R x F x S Cox regressions, chooses one strength a seed, predicts the query.

    Minimises cox_loss + penalty * (l1_ratio |kernel| + (1 - l1_ratio) / 2 |kernel|^2)
    on features standardised by the rows that a fit counts.

    Args:
      x: Features, in order of time.
      time, event, first: Of the rows, see `cox_loss`.
      before: Which rows' times are by each of K times.
      held, real: Of `held_out_rows`.
      penalty: Strengths, the strongest first.
      query: Rows to predict.
      train, val, final: Of FoldWeights, in order of time.
      l1_ratio, steps, tolerance: See `Cox`.

    Returns:
      Prediction `[R, Q, 1 + K]`; the loss is 1 - concordance of the held-out rows.
    """
    kernels, offsets, counts, gradients, losses, pairs = cox_fits(
        x, time, event, first, held, real, penalty, train, val,
        l1_ratio=l1_ratio, steps=steps, tolerance=tolerance,
    )  # fmt: skip
    loss, choice = choose(losses, pairs[:, :, 0])

    def predict(kernel, offset, weight):
        eta = jnp.matmul(x, kernel, precision=EXACT) - offset
        at = jnp.matmul(query, kernel, precision=EXACT) - offset
        eta = jnp.where(weight > 0, eta, FAR_BELOW)
        alive, _, _ = _tied(event, first, weight)
        top = eta.max()
        risk, _ = _at_risk(weight * jnp.exp(eta - top), alive, first)
        falls = alive * weight / jnp.maximum(risk, 1e-30)
        hazard = jnp.matmul(before, falls, precision=EXACT)  # Breslow 1972, / e^top
        hazard = jax.lax.cummax(hazard)  # sums of other lengths round in other ways
        curve = jnp.exp(-hazard[None, :] * jnp.exp(at - top)[:, None])
        return jnp.concatenate([at[:, None], curve], axis=1)

    def last(part):
        return jax.vmap(lambda one, place: one[final, place])(part, choice)

    prediction = jax.vmap(predict)(last(kernels), last(offsets), train[:, final])
    return Sweep(prediction, choice, loss, last(counts), last(gradients))


def cox_fits(
    x, time, event, first, held, real, penalty, train, val,
    *, l1_ratio=0.0, steps=300, tolerance=1e-4,
):  # fmt: skip
    """The fits of `cox_sweep`.

    Returns:
      `[R, F, S, ...]` kernels of x as it is, offsets, solver steps, gradients; discordant
      and comparable weight of held-out pairs.
    """
    seeds, fits, rows = train.shape
    flat, held_out = (part.reshape(seeds * fits, rows) for part in (train, val))
    # By the mean and spread of all rows that some fit counts.
    centre, spread = moments(x, (flat.sum(axis=0) > 0).astype(jnp.float32))
    z = (x - centre[None, :]) / spread[None, :]
    mean, scale = jax.lax.map(functools.partial(moments, z), flat)

    def fold(which):
        weight, rows_held = flat[which], held[which % fits]
        if l1_ratio:  # no rotation: it would be another penalty
            features = z / scale[which][None, :]

            def fit(strength):
                l1, l2 = l1_ratio * strength, (1 - l1_ratio) * strength

                def loss(params):
                    eta = jnp.matmul(features, params, precision=EXACT)
                    smooth = cox_loss(eta, event, first, weight)
                    return smooth + 0.5 * l2 * jnp.sum(params**2)

                start = origin(features.shape[1])
                return minimise_l1(loss, start, l1, steps, tolerance)

            params, *how = jax.vmap(fit)(penalty)
            kernel = params / scale[which][None, :]
        else:
            features, variance, of_x = rotated(z, mean[which], scale[which], weight)
            tied = _tied(event, first, weight)

            def evaluate(params):
                eta = jnp.matmul(features, params[0, :, 0], precision=EXACT)
                value, slope = cox_value_and_slope(eta, first, weight, tied)
                gradient = jnp.matmul(slope, features, precision=EXACT)
                return Point(params, value[None], gradient[None, :, None], jnp.zeros(1))

            # Without any effect the likelihood's curvature is about that of the
            # features times the share of events.
            curvature = (
                variance * jnp.sum(weight * event) / jnp.maximum(weight.sum(), 1e-9)
            )
            params, *how = along_path(
                evaluate,
                penalty,
                origin(1, features.shape[1], 1),
                curvature=curvature,
                precondition=lambda l2, vector, _: (
                    vector / (curvature[None, :, None] + l2)
                ),
                read=lambda point: point.params[0, :, 0],
                steps=steps,
                tolerance=tolerance,
            )
            how = [part[:, 0] for part in how]
            kernel = jax.vmap(of_x)(params)
        risk = jnp.matmul(params, features[rows_held].T, precision=EXACT)
        counted = held_out[which][rows_held] * real[which % fits]
        pairs = jax.vmap(_concordant, (0, None, None, None))(
            risk, time[rows_held], event[rows_held], counted
        )
        offset = jnp.matmul(kernel, mean[which], precision=EXACT)
        kernel = kernel / spread[None, :]
        offset = offset + jnp.matmul(kernel, centre, precision=EXACT)
        return kernel, offset, *how, *pairs

    parts = side_by_side(fold, seeds * fits, rows, min(x.shape))
    return tuple(part.reshape(seeds, fits, *part.shape[1:]) for part in parts)
