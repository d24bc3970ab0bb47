"""What an objective needs to embed expression by a gene tower: files, start, inputs.

The option `expression_tower` says which tower (gene_towers/); comparing is the
objective's.
"""

import functools
import logging
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from pathjax.gene_towers import GeneTower, SharedOptions, options_of
from pathjax.objectives.objective import Batch, Objective

log = logging.getLogger(__name__)


class WithGeneTower(Objective):
    """Base class of objectives with the options below; its module is "expression"."""

    expression_tower: GeneTower
    widths: Sequence[int]
    dropout: float
    gene_dropout: float

    def problems(self, batch: int) -> list[str]:
        tower = self.expression_tower.problems()
        return super().problems(batch) + [f"expression_tower.{one}" for one in tower]

    @property
    def needs_vectors(self) -> bool:  # type: ignore[override]
        return "vectors" in self.expression_tower.reads

    @property
    def has_resources(self) -> bool:
        return type(self.expression_tower).read is not GeneTower.read

    def sample_vectors(self, study):
        return self.expression_tower.sample_vectors(self.spec.resources)

    @property
    def frozen(self) -> tuple[str, ...]:
        return ("^expression/",) if self.expression_tower.frozen else ()

    @functools.cached_property
    def shared(self) -> SharedOptions:
        """The options that gene towers share."""
        return SharedOptions(tuple(self.widths), self.dropout, self.gene_dropout)

    def read(self, study, train, panel):
        tower, default = self.expression_tower, type(self)()
        for name in ("widths", "gene_dropout"):
            value = getattr(self, name)
            if name not in tower.uses and value != getattr(default, name):
                log.warning(
                    "objective.%s=%s is not used by the gene tower %s",
                    *(name, value, options_of(tower)["name"]),
                )
        return tower.read(study, train, panel)

    def start(self):
        made = self.expression_tower.start(self.spec.resources)
        return {"expression": made} if made else {}

    def genes_like(self) -> tuple[jax.Array, ...]:
        """The tower's inputs for one sample, to initialise it with."""
        blank = {"expression": jnp.zeros((1, self.spec.n_genes), jnp.float32)}
        if self.needs_vectors:
            width = self.spec.resources["dimensions"]
            blank["vectors"] = jnp.zeros((1, width), jnp.float32)
        return self.genes_of(blank, jnp.ones((1, 1), bool))

    def reads_of(self, modality: str) -> tuple[str, ...]:
        """Keys of the batch that a modality's tower embeds."""
        if modality == "expression":
            return self.expression_tower.reads
        return (modality,)

    def genes_of(self, batch: Batch, known: jax.Array) -> tuple[jax.Array, ...]:
        """The tower's inputs for a batch; `known` as in `GeneTower.inputs`."""
        return self.expression_tower.inputs(self.spec.resources, batch, known)
