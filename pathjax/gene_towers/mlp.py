"""The gene tower `mlp`: an MLP over z-scored genes."""

import dataclasses

from pathjax.gene_towers.tower import GeneTower
from pathjax.models.expression import ExpressionMLP


@dataclasses.dataclass(frozen=True)
class MLP(GeneTower):
    """An MLP over genes, of the objective's `widths`, `dropout` and `gene_dropout`."""

    def module(self, resources, shared):
        return ExpressionMLP(tuple(shared.widths), shared.dropout, shared.gene_dropout)
