"""A made-up run folder for tests of the report page; nothing in it is measured.

A base and two models tuned from it with three seeds each, nine classifications and one
expression task, learning curves, an embedding and a spot map.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.evals.results import make_entry, write_results
from pathjax.evals.tasks import Task, TaskOutcome
from pathjax.stats.metrics import balanced_accuracy, mean_pearson

ROWS, PATIENTS = 150, 50
CLASS_TASKS, CLASSES, SEEDS = 9, 9, 3
STEPS = 2000
MAP_GENES = 10


@dataclasses.dataclass(frozen=True)
class RunSize:
    """Genes of the expression task, points of the embedding, spots of the map."""

    genes: int = 2000
    points: int = 20_000
    spots: int = 1000


def _outcome(name: str, kind: str, truth, prediction, columns) -> TaskOutcome:
    is_class = kind == "classification"
    value = (
        balanced_accuracy(truth, prediction)
        if is_class
        else mean_pearson(truth, prediction)
    )
    return TaskOutcome(
        task=Task(name, "made-up", "y" if is_class else None, kind, "s", "fit", "test"),
        study="made-up",
        fingerprint="0" * 64,
        synthetic=True,
        protocol="linear/1" if is_class else "ridge/1",
        metric="balanced_accuracy" if is_class else "pearson",
        value=value,
        chance=1 / 3 if is_class else 0.0,
        truth=truth,
        prediction=prediction,
        columns=columns,
        unit=np.array([f"row{n}" for n in range(ROWS)]),
        patient=np.array([f"P{n % PATIENTS}" for n in range(ROWS)]),
        stratum=np.zeros(ROWS, np.int64),
        combine="within",
        shared_patients=(),
        hyper={},
        per_fold=[],
    )


def _outcomes(options: RunSize, quality: float, seed: int) -> list[TaskOutcome]:
    """All tasks of one model: right in `quality` of the rows, noise the less."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(CLASS_TASKS):
        truth = (np.arange(ROWS) % 3).astype(np.int32)
        wrong = (truth + rng.integers(1, 3, ROWS)) % 3
        guess = np.where(rng.random(ROWS) < quality, truth, wrong).astype(np.int32)
        name = f"task {number}"
        made.append(_outcome(name, "classification", truth, guess, ("a", "b", "c")))
    truth = np.random.default_rng(0).normal(size=(ROWS, options.genes))
    guess = truth + rng.normal(0, 1 / quality, truth.shape)
    genes = tuple(f"GENE{number}" for number in range(options.genes))
    both = truth.astype(np.float32), guess.astype(np.float32)
    return [*made, _outcome("expression", "expression", *both, genes)]


def write_run(root: Path, options: RunSize) -> None:
    """Writes the folder."""
    models = [("base", None, None, 0.6)]
    for name, quality in (("contrastive", 0.7), ("regression", 0.65)):
        models += [(name, "base", seed, quality) for seed in range(SEEDS)]
    entries = []
    for number, (model, base, seed, quality) in enumerate(models):
        for outcome in _outcomes(options, quality, number + 1):
            entry = make_entry(
                outcome, model=model, base=base, seed=seed, audit={"status": "clean"}
            )
            entries.append((entry, outcome))
        if base:
            _write_curve(root / f"{model}-{seed}", number)
    write_results(root, entries)
    _write_points(root / "tsne.csv", options)
    _write_map(root / "spots.csv", options)


def _write_curve(folder: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.05, STEPS)
    loss = 3 / np.sqrt(1 + np.arange(STEPS)) + noise
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": n, "train/loss": value}) for n, value in
             enumerate(loss.tolist())]  # fmt: skip
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_points(path: Path, options: RunSize) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, options.points)
    middle = rng.normal(0, 25, (CLASSES, 2))
    where = middle[label] + rng.normal(0, 5, (options.points, 2))
    ids = [f"TCGA-{n // 10_000:02d}-{n % 10_000:04d}" for n in range(options.points)]
    labels = [f"type {n}" for n in label]
    columns = {"x": where[:, 0], "y": where[:, 1], "label": labels, "id": ids}
    pd.DataFrame(columns).to_csv(path, index=False)


def _write_map(path: Path, options: RunSize) -> None:
    rng = np.random.default_rng(0)
    spots = np.arange(options.spots)
    across = int(np.ceil(np.sqrt(options.spots)))
    parts = [
        pd.DataFrame(
            {
                "x": spots % across,
                "y": spots // across,
                "gene": f"GENE{number}",
                "measured": rng.normal(size=options.spots),
                "predicted": rng.normal(size=options.spots),
            }
        )
        for number in range(MAP_GENES)
    ]
    pd.concat(parts).to_csv(path, index=False)
