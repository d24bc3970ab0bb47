"""Two modalities compared in both directions, on one device's rows.

Knows no parameters and no batch: the contrastive objective gives embeddings in, and adds
up what comes out.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from pathjax import losses
from pathjax.losses import Rows, metrics
from pathjax.losses import spread as spreading

Pair = tuple[str, str]
Sides = Mapping[str, Rows]  # by modality


def temperature_name(pair: Pair) -> str:
    """Name of a pair's temperature among the parameters."""
    if pair == ("image", "expression"):
        return "temperature"
    return f"temperature_{'_'.join(pair)}"


def of_both(sides: Sides, pair: Pair) -> tuple[Rows, Rows]:
    """The two sides of a pair, masked to the rows that have both."""
    left, right = (sides[name] for name in pair)
    rows = left.mask & right.mask
    return dataclasses.replace(left, mask=rows), dataclasses.replace(right, mask=rows)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How the rows of two modalities are compared.

    Attributes:
      loss, targets, soft_by: As the options of `Contrastive`.
      chunk: Rows of this device at once; 0 for all.
    """

    loss: str
    targets: losses.Targets
    soft_by: str
    chunk: int

    def both_ways(
        self,
        temperature: tuple[jax.Array, jax.Array],
        mine: Sides,
        everyone: Sides,
        earlier: Sides | None,
        pair: Pair,
    ) -> dict[str, Any]:
        """Losses and metrics `[n]` of this device's rows among those of all.

        Args:
          temperature: Log scale and bias.
          mine, everyone: Rows of this device and of all.
          earlier: Rows of a queue, as further negatives.
          pair: Which modalities.
        """
        left, right = of_both(mine, pair)
        lefts, rights = of_both(everyone, pair)
        by_genes = self.soft_by == "expression" and "expression" in pair
        if self.targets.soft and not by_genes:
            left, right = losses.averaged_similarity(left, right)
            lefts, rights = losses.averaged_similarity(lefts, rights)
        before = of_both(earlier, pair) if earlier else (None, None)
        values = self._one_way(temperature, left, rights, before[1])
        values += self._one_way(temperature, right, lefts, before[0])
        stopped = jax.lax.stop_gradient((left, right, lefts, rights))
        left, right, lefts, rights = stopped
        guesses = jnp.log(losses.candidates(left, rights, before[1]))
        guesses += jnp.log(losses.candidates(right, lefts, before[0]))
        return {
            "rows": left.mask,
            "values": 0.5 * values,
            "guess": jnp.where(left.mask, 0.5 * guesses, 0),
            "alignment": jnp.square(left.z - right.z).sum(axis=1),
            "there": metrics.hits_first(left, rights, self.chunk),
            "back": metrics.hits_first(right, lefts, self.chunk),
        }

    def _one_way(self, temperature, queries, keys, negatives):
        log_scale, bias = temperature
        if self.loss == "infonce":
            return losses.info_nce_one_way(
                queries, keys, log_scale, self.chunk, self.targets, negatives
            )
        return losses.sigmoid_one_way(
            queries, keys, log_scale, bias, self.chunk, negatives
        )

    def spread(self, mine: Rows, everyone: Rows) -> dict[str, jax.Array]:
        """Closeness `[n]` of this device's rows to all, and the rank of all, `[n]`."""
        rank = spreading.effective_rank(everyone)
        return {
            "closeness": spreading.closeness(mine, everyone, self.chunk),
            "rank": jnp.full(len(mine.mask), rank),
        }
