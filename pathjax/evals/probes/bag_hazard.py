"""Discrete-time survival over bags of tiles: `hazard_fit` the solver, `BagHazard` the probe.

    bags of a patient's tiles -> gated attention (abmil.py) -> a logit of each interval
    hazard = sigmoid(logit); S after an interval = product of (1 - hazard) so far

The logistic hazard model (Brown 1975, doi:10.2307/2529811; with networks Kvamme & Borgan
2021, doi:10.1007/s10985-021-09532-6). Intervals end at quantiles of the event times of the
fit rows, as many events in each. An event counts in the interval that holds it, a
censored patient in the intervals that it lived through whole, as in Kvamme & Borgan.
Between their ends the hazard is constant; after the last S stays. Runs, learning rate and
early stopping are those of `Abmil`, but the epoch is that of the largest held-out
likelihood, which sees calibration where concordance does not.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from pathjax.evals.probes.abmil import (
    EVA,
    LEARNING_RATE,
    abmil_init,
    abmil_logits,
    in_parts,
    logits_of_all,
)
from pathjax.evals.probes.base import Fit, Problem
from pathjax.evals.probes.minibatch import EpochProbe, Fits, Recipe, fit_runs
from pathjax.stats.survival import GRID


@dataclasses.dataclass(frozen=True)
class BagHazard(EpochProbe):
    """The logistic hazard of patients by gated attention over their tiles.

    Attributes:
      bins: Intervals; fewer where events are fewer.
      learning_rate: Of AdamW.
      epochs, patience: As in `Recipe`.
      bag: The most tiles of a patient, evenly spaced among its own.
    """

    kinds = ("survival",)
    samples_only = True
    folds: int = 5
    bins: int = 4
    learning_rate: float = LEARNING_RATE
    epochs: int = EVA.epochs
    patience: int = EVA.patience
    bag: int = 1000

    def fit(self, problem: Problem) -> Fit:
        assert problem.bags is not None, "a problem of patients has bags"
        roles = [*problem.learned, "test"]
        x, bags = problem.bags([problem.rows[role] for role in roles], self.bag)
        ends = interval_ends(problem.labels["fit"], self.bins)
        parts = {
            role: (*bag, *interval_labels(problem.labels[role], ends))
            for role, bag in zip(roles, bags, strict=True)
        }
        role, fitted, held_out, where = self.validation(problem)
        train = [part[fitted] for part in parts["fit"]]
        val = [part[held_out] for part in parts[role]]
        length = bags[0][0].shape[1]
        recipe = dataclasses.replace(EVA, epochs=self.epochs, patience=self.patience)
        recipe, step_bytes = in_parts(recipe, length, x.shape[1])
        fits, logits = self.run(
            functools.partial(
                hazard_fit, learning_rate=self.learning_rate, recipe=recipe
            ),
            [x, *train, *val, *parts["test"][:2]],
            step_bytes,
        )
        info = {
            "chosen_by": f"{where}: epoch",
            "intervals_end": [float(end) for end in ends],
            "best_epoch": fits.epoch.tolist(),
            "epochs": fits.epochs.tolist(),
            "tiles_in_a_bag": length,
        }
        rates = (self.learning_rate,) * self.seeds
        return Fit(risk_and_curve(logits, ends), rates, info)


def interval_ends(y: Float[np.ndarray, "n 2"], bins: int) -> Float[np.ndarray, "K"]:
    """Ends of intervals with as many events each, the last event's time the last.

    Args:
      y: Months, and 1 for an event; some row has one.
      bins: How many; tied quantiles are one.
    """
    times = y[y[:, 1] > 0, 0]
    shares = np.arange(1, bins + 1) / bins
    return np.unique(np.quantile(times, shares, method="inverted_cdf"))


def interval_labels(
    y: Float[np.ndarray, "n 2"], ends: Float[np.ndarray, "K"]
) -> tuple[Float[np.ndarray, "n K"], Float[np.ndarray, "n K"]]:
    """In which intervals a row is at risk, and in which one it has its event: 1 or 0."""
    time, event = y[:, 0], y[:, 1] > 0
    # An event at an interval's end is in it; one censored there has lived through it.
    own = np.searchsorted(ends, time, side="left")
    lived = np.searchsorted(ends, time, side="right")
    number = np.arange(len(ends))
    dies = event[:, None] & (number == own[:, None])
    at_risk = number < np.where(event, own + 1, lived)[:, None]
    return at_risk.astype(np.float32), dies.astype(np.float32)


def hazard_loss(
    logits: Float[Array, "B K"],
    at_risk: Float[Array, "B K"],
    dies: Float[Array, "B K"],
    weight: Float[Array, "B"],
) -> Float[Array, ""]:
    """Weighted sum over rows of minus their log likelihood.

    Of an event in interval k: hazard(k), and 1 - hazard of those before; of a censored row
    1 - hazard of the intervals that it lived through.
    """
    each = optax.sigmoid_binary_cross_entropy(logits, dies)
    return jnp.sum(weight * jnp.sum(at_risk * each, axis=1))


def risk_and_curve(
    logits: Float[np.ndarray, "R n K"], ends: Float[np.ndarray, "K"]
) -> Float[np.ndarray, "R n 1+G"]:
    """The risk, minus the sum of S over the ends, then S at GRID."""
    alive = -np.cumsum(np.logaddexp(0, np.asarray(logits, np.float64)), axis=-1)
    risk = -np.exp(alive).sum(axis=-1, keepdims=True)
    alive = np.concatenate([np.zeros_like(risk), alive], axis=-1)
    # log S is linear between the ends: a constant hazard.
    each = np.eye(1 + len(ends))
    share = np.stack([np.interp(GRID, [0, *ends], one) for one in each])
    return np.concatenate([risk, np.exp(alive @ share)], axis=-1)


@functools.partial(jax.jit, static_argnames=("recipe",))
def hazard_fit(
    x: Float[Array, "T E"],
    bags: Int[Array, "N M"],
    mask: Bool[Array, "N M"],
    at_risk: Float[Array, "N K"],
    dies: Float[Array, "N K"],
    val_bags: Int[Array, "V L"],
    val_mask: Bool[Array, "V L"],
    val_at_risk: Float[Array, "V K"],
    val_dies: Float[Array, "V K"],
    query_bags: Int[Array, "Q J"],
    query_mask: Bool[Array, "Q J"],
    seeds: Int[Array, "R"],
    *,
    learning_rate: float = LEARNING_RATE,
    recipe: Recipe = EVA,
) -> tuple[Fits, Float[Array, "R Q K"]]:
    """Fits R probes side by side and applies them to the query bags.

    Args:
      x: All tiles.
      bags, mask: Training bags as numbers of tiles, padded to one length.
      at_risk, dies: Of `interval_labels`.
      val_bags, ...: What the epoch is chosen on.
      query_bags, query_mask: Bags to predict.
      seeds: Of the runs.
      learning_rate, recipe: See `BagHazard`.

    Returns:
      The fits, and logits of the query bags.
    """
    everyone = jnp.full(len(val_bags), 1 / len(val_bags))
    fits = fit_runs(
        init=lambda key: abmil_init(key, x.shape[1], dies.shape[1]),
        loss=lambda params, index, weight: hazard_loss(
            abmil_logits(params, x[bags[index]], mask[index]),
            at_risk[index],
            dies[index],
            weight,
        ),
        score=lambda params: (
            -hazard_loss(
                logits_of_all(params, x, val_bags, val_mask, recipe),
                val_at_risk,
                val_dies,
                everyone,
            )
        ),
        seeds=seeds,
        learning_rate=jnp.full((len(seeds),), learning_rate),
        rows=len(bags),
        recipe=recipe,
    )
    apply = functools.partial(logits_of_all, recipe=recipe)
    logits = jax.vmap(apply, (0, None, None, None))(
        fits.params, x, query_bags, query_mask
    )
    return fits, logits
