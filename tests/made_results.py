"""Run folders written from made-up outcomes, as `pathjax probe` writes them."""

import json

import numpy as np

from pathjax.evals.results import make_entry, write_results
from pathjax.evals.tasks import Task, TaskOutcome

ROWS, PATIENTS, GENES = 60, 20, 7


def class_outcome(name, right, seed, *, patients=PATIENTS, synthetic=False):
    """A classification that is right with the given chance."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(0).integers(0, 3, ROWS).astype(np.int32)
    other = (truth + rng.integers(1, 3, ROWS)) % 3
    guess = np.where(rng.random(ROWS) < right, truth, other).astype(np.int32)
    return made(name, "classification", "balanced_accuracy", truth, guess,
                ("a", "b", "c"), patients, synthetic)  # fmt: skip


def gene_outcome(name, noise, seed, *, patients=PATIENTS, synthetic=False):
    """An expression prediction with the given noise; gene 2 is constant."""
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(1).normal(size=(ROWS, GENES)).astype(np.float32)
    truth[:, 2] = 1
    guess = (truth + rng.normal(0, noise, truth.shape)).astype(np.float32)
    return made(name, "expression", "pearson", truth, guess,
                tuple(f"G{i}$_{i}$" for i in range(GENES)), patients, synthetic)  # fmt: skip


def made(name, kind, metric, truth, guess, columns, patients, synthetic):
    from pathjax.stats.metrics import balanced_accuracy, mean_pearson

    is_class = kind == "classification"
    value = balanced_accuracy(truth, guess) if is_class else mean_pearson(truth, guess)
    ids = np.arange(ROWS) % patients
    return TaskOutcome(
        task=Task(name, "cohort", "y" if is_class else None, kind, "s", "fit", "test"),
        study="cohort",
        fingerprint="f",
        synthetic=synthetic,
        protocol="linear/1" if is_class else "ridge/1",
        metric=metric,
        value=value,
        chance=1 / 3 if is_class else 0.0,
        truth=truth,
        prediction=guess,
        columns=columns,
        unit=np.array([f"row{i}" for i in range(ROWS)]),
        patient=np.array([f"P{i}" for i in ids]),
        stratum=np.zeros(ROWS, np.int64),
        combine="within",
        shared_patients=(),
        hyper={} if is_class else {"constant_genes": 1},
        per_fold=[],
    )


def write_model(root, name, outcomes, base=None, seed=None, audit=None):
    audit = audit or {"status": "clean"}
    write_results(
        root,
        [
            (make_entry(one, model=name, base=base, seed=seed, audit=audit), one)
            for one in outcomes
        ],
    )


def change(run, which, **values):
    """Rewrites entries of results.json for which `which(entry)` holds."""
    path = run / "results.json"
    content = json.loads(path.read_text())
    for entry in content["entries"]:
        if which(entry):
            entry.update(values)
    path.write_text(json.dumps(content))
