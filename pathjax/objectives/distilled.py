"""Self-distillation beside any objective: DINO's loss on the images it is trained on.

    loss = the objective's loss + weight x DINO's loss on views of the same tiles

The objective's own encoder is the student; the teacher is its moving average, which
starts as the model that is tuned. Views are cut from the first of each sample's K tiles
(`multicrop`), so a step adds a pass of the student through all of them and one of the
teacher through the global ones. The head starts fresh and is not in the model file, which
has the student's encoder. Validation has no views and measures the objective alone.
DINO itself is in dino.py.
"""

import dataclasses
import math

from pathjax.objectives.dino import DINO
from pathjax.objectives.objective import Objective, Params, extended
from pathjax.rng import stream

PART = "self_distillation"  # the head among the parameters, and the loss in the logs
CROPS = ("crops_global", "crops_local")


@dataclasses.dataclass(frozen=True)
class SelfDistillation:
    """DINO's loss beside the objective's, on views of the same tiles.

    Attributes:
      weight: Factor on the loss; 0 trains without it.
      prototypes: P, outputs that are compared.
      hidden: Hidden width of the head.
      bottleneck: Width before the prototypes.
      momentum: Momentum of the teacher at step 0, rising to 1.
    """

    weight: float = 0.0
    prototypes: int = 4096
    hidden: int = 2048
    bottleneck: int = 256
    momentum: float = 0.996

    def dino(self) -> DINO:
        """The objective that it adds, before `setup`."""
        options = dataclasses.asdict(self)
        del options["weight"]
        return DINO(**options)

    def problems(self) -> list[str]:
        """All invalid options, a phrase each."""
        problems = [f"{PART}.{problem}" for problem in self.dino().problems(0)]
        if not 0 <= self.weight < math.inf:
            problems.append(
                f"{PART}.weight={self.weight}: expected a finite number, at least 0"
            )
        return problems


def distilled(objective: Objective, part: SelfDistillation) -> Objective:
    """The objective with DINO's loss beside it, or as it is if the weight is 0.

    Its extra state is the pair of the objective's own and DINO's teacher and centre.

    Args:
      objective: After `setup`; an anchor is kept.
      part: Without problems.
    """
    if not part.weight:
        return objective
    spec = dataclasses.replace(objective.spec, n_genes=0, text_dim=0, partial=False)
    dino = part.dino().setup(spec)
    return extended(objective, _Distilled, distiller=dino, distillation=part)


class _Distilled(Objective):
    """What self-distillation changes of an objective's methods; before its class."""

    distiller: DINO
    distillation: SelfDistillation

    @property
    def requires(self):
        return (*super().requires, *CROPS)

    def _student(self, params: Params) -> Params:
        return {"vit": params["vit"], "head": params[PART]}

    def init(self, key, batch):
        params, extra = super().init(key, batch)
        made, own = self.distiller.init(stream(key, f"init/{PART}", 0), batch)
        params = params | {PART: made["head"]}
        return params, (extra, self.distiller.reset_extra(self._student(params), own))

    def reset_extra(self, params, extra):
        own = self.distiller.reset_extra(self._student(params), extra[1])
        return super().reset_extra(params, extra[0]), own

    def represent(self, params, extra, batch, key, step, train):
        rows = super().represent(params, extra[0], batch, key, step, train)
        if CROPS[0] not in batch:
            return rows
        views = self.distiller.represent(
            self._student(params), extra[1], batch, key, step, train
        )
        return rows | {f"{PART}/{name}": values for name, values in views.items()}

    def compare(self, params, extra, rows, batch, step, mesh=None):
        views = {name: rows[name] for name in rows if name.startswith(f"{PART}/")}
        own = {name: values for name, values in rows.items() if name not in views}
        values, logged, aux = super().compare(params, extra[0], own, batch, step, mesh)
        if not views:
            return values, logged, (aux, {})
        views = {name.removeprefix(f"{PART}/"): made for name, made in views.items()}
        lost, about, moved = self.distiller.compare(
            self._student(params), extra[1], views, batch, step, mesh
        )
        logged = {**logged, **about, PART: lost}
        return values + self.distillation.weight * lost, logged, (aux, moved)

    def update_extra(self, extra, params, aux, step):
        own = self.distiller.update_extra(extra[1], self._student(params), aux[1], step)
        return super().update_extra(extra[0], params, aux[0], step), own

    def export(self, params, extra):
        kept = {name: leaf for name, leaf in params.items() if name != PART}
        return super().export(kept, extra[0])
