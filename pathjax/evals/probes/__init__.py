"""The probes by name, and one's own by `package.module:Class`."""

from pathjax.evals.probes.abmil import Abmil
from pathjax.evals.probes.bag_hazard import BagHazard
from pathjax.evals.probes.base import Fit, Probe, Problem
from pathjax.evals.probes.clusters import Clusters
from pathjax.evals.probes.cox import Cox
from pathjax.evals.probes.eva_linear import EvaLinear
from pathjax.evals.probes.hest_ridge import HestRidge
from pathjax.evals.probes.knn import Knn
from pathjax.evals.probes.logistic import Logistic
from pathjax.evals.probes.retrieval import Retrieval
from pathjax.evals.probes.ridge import Ridge
from pathjax.evals.probes.robustness import ConfoundedTraining, NeighbourIndex
from pathjax.evals.probes.uni_logreg import UniLogreg
from pathjax.registry import Registry

__all__ = ["PROBES", "Fit", "Probe", "Problem"]

PROBES = Registry(
    "probe",
    {
        "logistic": Logistic,
        "ridge": Ridge,
        "knn": Knn,
        "retrieval": Retrieval,
        "eva_linear": EvaLinear,
        "uni_logreg": UniLogreg,
        "abmil": Abmil,
        "hest_ridge": HestRidge,
        "cox": Cox,
        "bag_hazard": BagHazard,
        "neighbour_index": NeighbourIndex,
        "confounded_training": ConfoundedTraining,
        "clusters": Clusters,
    },
    of=Probe,
)
