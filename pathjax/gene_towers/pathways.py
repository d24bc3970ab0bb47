"""The gene tower `pathways`: one token per gene set of the user's, then attention."""

import dataclasses
import logging
from pathlib import Path

import jax.numpy as jnp

from pathjax.data.gene_sets import match, read_gmt
from pathjax.gene_towers.tower import GeneTower
from pathjax.models.pathways import PathwayEncoder

log = logging.getLogger(__name__)
MOST_NAMED = 20  # sets in a warning; the run's config.json has all


@dataclasses.dataclass(frozen=True)
class Pathways(GeneTower):
    """A token per gene set, attention among the sets, gated attention to pool them.

    Attributes:
      gene_sets: GMT file.
      min_genes: Genes of the panel that a set must have; others are left out by name.
      width: Of tokens and of the result.
      depth: Blocks of attention among the sets.
      heads: Of the attention; divides `width`.
    """

    uses = ("dropout", "gene_dropout")

    gene_sets: str = ""
    min_genes: int = 5
    width: int = 64
    depth: int = 1
    heads: int = 4

    def problems(self):
        least_values = {"min_genes": 1, "width": 1, "depth": 0, "heads": 1}
        problems = [
            f"{name}={getattr(self, name)}: expected at least {least}"
            for name, least in least_values.items()
            if getattr(self, name) < least
        ]
        if not self.gene_sets:
            problems.append("gene_sets is not set: name a GMT file")
        if not problems and self.width % self.heads:
            problems.append(f"heads={self.heads}: expected a divisor of {self.width}")
        return problems

    def read(self, study, train, panel):
        sets = read_gmt(Path(self.gene_sets))
        found = match(sets, panel.places(), self.min_genes)
        log.info(
            "%s: %d of %d sets; %d of %d genes of the panel are in none and not used",
            *(self.gene_sets, len(found.members), len(sets)),
            *(found.unused, len(panel.genes)),
        )
        if left_out := found.left_out:
            named = [f"{name} ({count})" for name, count in left_out.items()]
            more = len(named) - MOST_NAMED
            log.warning(
                "%d sets with fewer than %d of the panel's genes are left out: %s%s",
                *(len(named), self.min_genes, ", ".join(named[:MOST_NAMED])),
                f" and {more} more" if more > 0 else "",
            )
        members = {name: list(genes) for name, genes in found.members.items()}
        return {"gene_sets": members, "left_out": left_out, "unused": found.unused}

    def module(self, resources, shared):
        members = tuple(map(tuple, resources["gene_sets"].values()))
        return PathwayEncoder(
            *(members, self.width, self.depth, self.heads),
            dropout=shared.dropout,
            gene_dropout=shared.gene_dropout,
        )

    def inputs(self, resources, batch, known):
        genes = jnp.where(known, batch["expression"], 0)
        return genes, jnp.broadcast_to(known, genes.shape)
