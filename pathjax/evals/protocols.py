"""Protocols: exactly how a task is scored, each with a name and a version.

    name -> PROTOCOLS -> Protocol (a configured probe) -> run.run_task

Changing anything about one that is registered here makes a new version; options of a
single run are named in the label that results carry. docs/protocols.md has a section
for each. It fits nothing.
"""

import dataclasses
from typing import Any

from pathjax.evals import EvalError
from pathjax.evals.probes import PROBES, Probe
from pathjax.evals.probes.sweep import powers_of_ten
from pathjax.registry import Registry, did_you_mean

OWN_PROTOCOL = {
    "classification": "linear/1",
    "expression": "ridge/1",
    "regression": "ridge/1",
    "retrieval": "retrieval/1",
    "survival": "cox/1",
    "robustness": "robustness-index/1",
}
# Of kind robustness, by metric.
OWN_ROBUSTNESS = {
    "robustness_index": "robustness-index/1",
    "performance_drop": "performance-drop/1",
    "clustering_score": "clustering-score/1",
}
OWN_OPTIONS = ("values", "within", "over_folds", "allow_unseen")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a task is scored: a probe with its options, and what is asked of the rows.

    Attributes:
      name: "probe/version".
      probe: A configured probe.
      values: Of expression: "log", the study's X, or "log1p_counts", log1p of raw
        counts without library-size normalisation.
      within: A class target of samples: values, or pairs of survival, are scored within
        its classes.
      over_folds: How the folds of a cross-validation make one score of values:
        "within" or "mean" (stats.metric.Metric.terms).
      allow_unseen: Test classes that the fit fold lacks count as wrong, not as error.
    """

    name: str
    probe: Probe
    values: str = "log"
    within: str | None = None
    over_folds: str = "within"
    allow_unseen: bool = False

    def with_options(self, options: dict[str, Any]) -> "Protocol":
        """The protocol with other options, its own or its probe's, named in its label.

        Raises:
          EvalError: Unknown options.
        """
        # Probes are dataclasses, which the type of their base class cannot say.
        probe: Any = self.probe
        known = {field.name: probe for field in dataclasses.fields(probe)}
        known |= dict.fromkeys(OWN_OPTIONS, self)
        for name in options:
            if name not in known:
                raise EvalError(
                    f"protocol {self.name} has no option {name!r}; "
                    f"{did_you_mean(name, known)}"
                )
        new = {
            name: options[name]
            for name in sorted(options)
            if options[name] != getattr(known[name], name)
        }
        if not new:
            return self
        label = ", ".join(f"{name}={value}" for name, value in new.items())
        mine, probes = _divided(new)
        return dataclasses.replace(
            self,
            name=f"{self.name} ({label})",
            probe=dataclasses.replace(probe, **probes),
            **mine,
        )


def _divided(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The protocol's own options, and its probe's."""
    mine = {name: options[name] for name in options if name in OWN_OPTIONS}
    return mine, {name: options[name] for name in options if name not in OWN_OPTIONS}


def _of(name: str, probe: str, /, **options: Any) -> Protocol:
    """A shipped protocol; options are the protocol's or the probe's."""
    mine, probes = _divided(options)
    return Protocol(name, PROBES[probe](**probes), **mine)


_HEST = {"values": "log1p_counts", "over_folds": "mean"}
SHIPPED = (
    _of("linear/1", "logistic"),
    _of("ridge/1", "ridge"),
    _of("knn/1", "knn"),
    _of("retrieval/1", "retrieval"),
    _of("eva-linear/1", "eva_linear"),
    _of("eva-linear-heldout/1", "eva_linear", folds=5),
    _of("eva-linear-docs/1", "eva_linear", weight_decay=0.0, warm_epochs=0),
    _of("eva-abmil/1", "abmil"),
    _of("uni-logreg/1", "uni_logreg"),
    _of("hest-ridge/1", "hest_ridge", **_HEST),
    _of("hest-paper/1", "hest_ridge", components=0, **_HEST),
    # As alphas of scikit-learn's Ridge on standardised components; HEST's is 0.0078.
    _of("hest-cv-alpha/1", "hest_ridge", alphas=powers_of_ten(6, -3, 19), **_HEST),
    _of("tcga-expression/1", "ridge", within="cancer_type"),
    _of("tcga-expression-pan/1", "ridge"),
    _of("cox/1", "cox"),
    _of("cox-within/1", "cox", within="cancer_type"),
    _of("cox-net/1", "cox", penalty=powers_of_ten(0, -2, 20), l1_ratio=0.5),
    _of("bag-hazard/1", "bag_hazard"),
    _of("robustness-index/1", "neighbour_index"),
    _of("performance-drop/1", "confounded_training"),
    _of("clustering-score/1", "clusters"),
)
PROTOCOLS = Registry("protocol", {one.name: one for one in SHIPPED}, of=Protocol)
