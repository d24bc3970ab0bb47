"""A synthetic run folder for tests of the report page; nothing in it is measured."""

from pathlib import Path

import numpy as np

from pathjax.evals.results import make_entry, write_results
from pathjax.evals.tasks import Task, TaskOutcome
from pathjax.stats.metrics import mean_pearson

ROWS, PATIENTS = 150, 50


def write_run(root: Path, genes: int) -> None:
    """Writes results of a base model and a tuned one on an expression task."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(ROWS, genes)).astype(np.float32)
    entries = []
    for model, base, seed, noise in (("base", None, None, 2), ("tuned", "base", 0, 1)):
        guess = (truth + rng.normal(0, noise, truth.shape)).astype(np.float32)
        outcome = TaskOutcome(
            task=Task("expression", "", None, "expression", "s", "fit", "test"),
            study="synthetic",
            fingerprint="0" * 64,
            synthetic=True,
            protocol="ridge/1",
            metric="pearson",
            value=mean_pearson(truth, guess),
            chance=0.0,
            truth=truth,
            prediction=guess,
            columns=tuple(f"GENE{number}" for number in range(genes)),
            unit=np.array([f"row{n}" for n in range(ROWS)]),
            patient=np.array([f"P{n % PATIENTS}" for n in range(ROWS)]),
            stratum=np.zeros(ROWS, np.int64),
            combine="within",
            shared_patients=(),
            hyper={},
            per_fold=[],
        )
        audit = {"status": "clean"}
        entry = make_entry(outcome, model=model, base=base, seed=seed, audit=audit)
        entries.append((entry, outcome))
    write_results(root, entries)
