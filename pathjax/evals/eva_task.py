"""eva's linear probe on a task's folds: which fold is its train, val and test.

    Folds, labels, Protocol -> eva_linear_task -> Sweep, what was chosen and how

The fit fold is eva's train, the select fold its val. Where a task names no select fold,
the test fold is val and scored, as eva has it for sets without a test (BACH, CRC,
MHIST, BreakHis): its best epoch is then the best for the very rows that are scored, and
what was chosen says so.

The fit itself is in eva_linear.py; it is not divided over devices here.
"""

from typing import Any

import numpy as np
from jaxtyping import Shaped

from pathjax.evals.eva_linear import LinearOptions, linear_sweep
from pathjax.evals.labels import Folds
from pathjax.evals.minibatch import RecipeError
from pathjax.evals.probes import Sweep
from pathjax.evals.statistics import balanced_accuracy
from pathjax.evals.tasks import Protocol, Task, TaskError


def eva_linear_task(
    task: Task,
    folds: Folds,
    labels: dict[str, Shaped[np.ndarray, "_"]],
    protocol: Protocol,
    classes: int,
) -> tuple[Sweep, dict[str, Any]]:
    """Fits the protocol's runs and predicts the test fold.

    Returns:
      a Sweep, with predictions as one-hot classes and 1 - validation score as loss; and
      for the record each run's best epoch, and eva's own figures: mean and sample
      standard deviation over runs.

    Raises:
      TaskError: the fit fold has more rows than the protocol's steps can visit once.
    """
    options = LinearOptions(
        batch=protocol.batch,
        max_steps=protocol.steps,
        weight_decay=protocol.weight_decay,
        warm_epochs=protocol.warm_epochs,
    )
    val, test = ("select" if task.select else "test"), folds.test.features
    try:
        found = linear_sweep(
            folds.fit.features,
            labels["fit"],
            getattr(folds, val).features,
            labels[val],
            test,
            np.arange(protocol.seeds),
            np.asarray(protocol.strengths, np.float32),
            classes=classes,
            options=options,
        )
    except RecipeError as error:
        raise TaskError(f"task {task.name}: {error}") from error
    choice, predicted = np.asarray(found.choice), np.asarray(found.prediction)
    runs = np.arange(protocol.seeds)
    values = [balanced_accuracy(labels["test"], one) for one in predicted]
    epochs = np.asarray(found.epochs)[runs, choice]
    sweep = Sweep(
        prediction=np.eye(classes, dtype=np.float32)[predicted],
        choice=choice,
        loss=1 - np.asarray(found.score),
        steps=epochs * -(-len(folds.fit) // protocol.batch),
        gradient=np.zeros(protocol.seeds, np.float32),
    )
    where = f"fold {task.select}" if task.select else f"the scored fold {task.test}"
    return sweep, {
        "chosen_by": f"{where}: epoch and learning rate",
        "groups": "none: rows are shuffled",
        "best_epoch": [int(e) for e in np.asarray(found.epoch)[runs, choice]],
        "epochs": [int(one) for one in epochs],
        "mean_of_runs": float(np.mean(values)),
        "stdev_of_runs": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
    }
