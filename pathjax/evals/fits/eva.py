"""eva's linear probe on a task's folds: which fold is its train, val and test.

    Round -> eva_linear.linear_sweep -> Fit

The fit fold is eva's train, the select fold its val. Where a task names no select fold,
the test fold is val and scored, as eva has it for sets without a test (BACH, CRC,
MHIST, BreakHis): its best epoch is then the best for the very rows that are scored, and
what was chosen says so.

The fit itself is in eva_linear.py.
"""

from typing import Any

import numpy as np

from pathjax.evals.eva_linear import LinearOptions, linear_sweep
from pathjax.evals.fits.devices import over_devices
from pathjax.evals.fits.round import Fit, Round, chosen
from pathjax.evals.minibatch import RecipeError
from pathjax.evals.tasks import TaskError
from pathjax.stats.metrics import balanced_accuracy


def fit_eva_linear(round: Round) -> Fit:
    """Fits the protocol's runs and predicts the test fold.

    Raises:
      TaskError: the fit fold has more rows than the protocol's steps can visit once.
    """
    task, protocol, folds, labels = (
        round.task,
        round.protocol,
        round.folds,
        round.labels,
    )
    options = LinearOptions(
        batch=protocol.batch,
        max_steps=protocol.steps,
        weight_decay=protocol.weight_decay,
        warm_epochs=protocol.warm_epochs,
    )
    val = "select" if task.select else "test"
    try:
        found = over_devices(
            lambda rates, x, y, val_x, val_y, query, seeds: linear_sweep(
                x,
                y,
                val_x,
                val_y,
                query,
                seeds,
                rates,
                classes=round.classes,
                options=options,
            ),
            [
                np.asarray(protocol.strengths, np.float32),
                folds.fit.features,
                labels["fit"],
                getattr(folds, val).features,
                labels[val],
                folds.test.features,
            ],
            [np.arange(protocol.seeds)],
        )
    except RecipeError as error:
        raise TaskError(f"task {task.name}: {error}") from error
    choice, predicted = np.asarray(found.choice), np.asarray(found.prediction)
    runs = np.arange(protocol.seeds)
    strength, how = chosen(protocol.strengths, choice, 1 - np.asarray(found.score))
    where = f"fold {task.select}" if task.select else f"the scored fold {task.test}"
    how |= {
        "chosen_by": f"{where}: epoch and learning rate",
        "groups": "none: rows are shuffled",
        "best_epoch": [int(e) for e in np.asarray(found.epoch)[runs, choice]],
        "epochs": [int(one) for one in np.asarray(found.epochs)[runs, choice]],
        **of_runs(labels["test"], predicted),
    }
    return Fit(np.eye(round.classes, dtype=np.float32)[predicted], strength, how)


def of_runs(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """The sample standard deviation over runs, as eva reports it beside the mean."""
    values = [balanced_accuracy(truth, one) for one in predicted]
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"stdev_of_runs": spread}
