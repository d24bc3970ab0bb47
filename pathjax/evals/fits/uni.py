"""UNI's logistic regression on a task's folds: fit and select rows together.

Round -> uni_logreg.uni_logreg -> Fit
"""

import numpy as np

from pathjax.evals.fits.round import Fit, Round
from pathjax.evals.tasks import TaskError
from pathjax.evals.uni_logreg import uni_logreg


def fit_uni(round: Round) -> Fit:
    """Fits once, chooses nothing, and predicts the test fold.

    Raises:
      TaskError: a class is in the test fold only; UNI's cost counts those learned.
    """
    protocol, y = round.protocol, round.y
    absent = sorted(set(range(round.classes)) - set(y.tolist()))
    if absent:
        raise TaskError(
            f"task {round.task.name}: {len(absent)} of {round.classes} classes are in "
            f"the test fold only, and {protocol.name} cannot count them: choose other "
            "folds, or name the classes"
        )
    found = uni_logreg(
        round.rows("features"),
        y,
        round.folds.test.features,
        classes=round.classes,
        squared=protocol.squared,
        steps=protocol.steps,
        tolerance=protocol.tolerance,
    )
    how = {
        "chosen_by": "nothing: the cost follows from features and classes",
        "groups": "none",
        "solver_steps": [int(found.steps)],
        "converged": bool(found.gradient <= protocol.tolerance),
    }
    return Fit(np.asarray(found.logits)[None], (None,), how)
