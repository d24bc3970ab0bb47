"""Protocols: exactly how a task is scored, each with a name and a version.

    name -> PROTOCOLS -> Protocol -> run.run_task

Changing anything about one that is registered here makes a new version; options of a
single run are named in the label that results carry. docs/protocols.md has a section
for each. It fits nothing.
"""

import dataclasses
import difflib
from typing import Any

import numpy as np

PROBES_OF_KIND = {
    "classification": ("logistic", "knn", "eva_linear", "uni_logreg", "abmil"),
    "expression": ("ridge", "knn", "hest_ridge"),
    "regression": ("ridge", "knn"),
    "retrieval": ("retrieval",),
}
OWN_PROTOCOL = {
    "classification": "linear/1",
    "expression": "ridge/1",
    "regression": "ridge/1",
    "retrieval": "retrieval/1",
}


class ProtocolError(ValueError):
    """There is no such protocol or option; the message names what there is."""


def _powers(high: int, low: int, count: int) -> tuple[float, ...]:
    return tuple(float(f"{one:.3g}") for one in np.logspace(high, low, count))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a task is scored. A probe reads its own options and no other's.

    Attributes:
      name: "probe/version".
      probe: one of PROBES_OF_KIND.
      strengths: the grid, strongest first: penalty per unit of sample weight
        (scikit-learn: C = 1 / (strength * n), alpha = strength * n), or neighbours;
        learning rates for eva_linear and abmil; alphas for hest_ridge.
      seeds: probe seeds: 0 is the whole fit fold, the others are bootstrap samples of
        its patients. The value is seed 0's; the others show how much the fit fold's
        composition matters. For eva_linear and abmil they are runs on the whole fit
        fold, which differ in first parameters and row orders; the value is their mean.
      folds: inner folds over patients, where the task names no select fold.
      values: of expression: "log", the study's X, or "log1p_counts", log1p of raw
        counts without library-size normalisation.
      within: a class target of samples: r is taken within its classes.
      over_folds: of a cross-validated task's r: "within" or "mean" (statistics.Terms).
      balanced: of logistic: classes weigh equally in the loss, as they do in the metric.
      allow_unseen: test classes that the fit fold lacks count as wrong, not as error.
      k, per_slide: of retrieval: how many, and whether only within the slide.
      steps, tolerance: of L-BFGS (logistic, uni_logreg); steps also of eva_linear.
      batch, weight_decay, warm_epochs: of eva_linear (eva_linear.LinearOptions).
      components: of hest_ridge: principal components; 0 is none.
      squared: of uni_logreg: scikit-learn's penalty in place of UNI's.
      bag: of abmil: the most tiles of a sample, evenly spaced among its own.
      resample_seed: of inner folds and probe seeds.
    """

    name: str
    probe: str
    strengths: tuple[int | float, ...] = ()
    seeds: int = 5
    folds: int = 5
    values: str = "log"
    within: str | None = None
    over_folds: str = "within"
    balanced: bool = True
    allow_unseen: bool = False
    k: int = 10
    per_slide: bool = False
    steps: int = 300
    tolerance: float = 1e-4
    batch: int = 256
    weight_decay: float = 0.01
    warm_epochs: int = 5
    components: int = 256
    squared: bool = False
    bag: int = 1000
    resample_seed: int = 0

    @property
    def averaged(self) -> bool:
        """True where seeds are runs of one fit, whose mean is the value."""
        return self.probe in ("eva_linear", "abmil")

    def with_options(self, options: dict[str, Any]) -> "Protocol":
        """The protocol with other options, which then stand in its name.

        Raises:
          ProtocolError: unknown options, with the nearest that exist.
        """
        fields = {f.name for f in dataclasses.fields(self)} - {"name", "probe"}
        unknown = sorted(set(options) - fields)
        if unknown:
            near = {one: difflib.get_close_matches(one, fields, 1) for one in unknown}
            raise ProtocolError(
                f"protocol {self.name} has no option {unknown}; near: {near}; it has "
                f"{', '.join(sorted(fields))}"
            )
        changed = {k: v for k, v in options.items() if v != getattr(self, k)}
        if not changed:
            return self
        label = ", ".join(f"{key}={changed[key]}" for key in sorted(changed))
        return dataclasses.replace(self, **changed, name=f"{self.name} ({label})")


_RIDGE = _powers(3, -3, 13)
# As alphas of scikit-learn's Ridge on standardised components; HEST's own is 0.0078.
_ALPHAS = _powers(6, -3, 19)
_HEST = {"probe": "hest_ridge", "seeds": 1, "values": "log1p_counts"}

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("linear/1", "logistic", _powers(2, -4, 8)),
        Protocol("ridge/1", "ridge", _RIDGE),
        Protocol("knn/1", "knn", (100, 50, 20, 10, 5, 1)),
        Protocol("retrieval/1", "retrieval"),
        Protocol("eva-linear/1", "eva_linear", (3e-4,), steps=12_500),
        Protocol(
            "eva-linear-docs/1",
            "eva_linear",
            (3e-4,),
            steps=12_500,
            weight_decay=0.0,
            warm_epochs=0,
        ),
        Protocol("eva-abmil/1", "abmil", (1e-3,), seeds=20),
        Protocol("uni-logreg/1", "uni_logreg", seeds=1, steps=1000, tolerance=1e-7),
        Protocol("hest-ridge/1", over_folds="mean", **_HEST),
        Protocol("hest-paper/1", over_folds="mean", components=0, **_HEST),
        Protocol("hest-cv-alpha/1", strengths=_ALPHAS, over_folds="mean", **_HEST),
        Protocol("tcga-expression/1", "ridge", _RIDGE, within="cancer_type"),
        Protocol("tcga-expression-pan/1", "ridge", _RIDGE),
    )
}
