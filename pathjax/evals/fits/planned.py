"""Logistic regression, ridge and k-NN: the strength is chosen over held-out patients.

Round -> Plan's weights -> one compiled sweep over seeds, folds, strengths -> Fit
"""

import numpy as np

from pathjax.evals import logistic, probes
from pathjax.evals.fits.devices import over_devices
from pathjax.evals.fits.round import Fit, Round, chosen, chosen_by, pad


def fit_planned(round: Round) -> Fit:
    """Fits the protocol's grid and predicts the test fold."""
    protocol, classes = round.protocol, round.classes
    plan, unit = round.plan(protocol.seeds)
    y, offset, spread = round.y, np.float32(0), np.float32(1)
    if not classes:
        # In units of the fit fold: genes weigh alike, and float32 loses nothing.
        fit = round.labels["fit"]
        offset, spread = fit.mean(axis=0), fit.std(axis=0)
        spread = np.where(spread > 0, spread, np.float32(1))
        y = (y - offset) / spread
    query = round.folds.test.features
    sweep = _sweep(protocol, plan, round.rows("features"), y, query, classes)
    strength, how = chosen(protocol.strengths, sweep.choice, sweep.loss)
    how |= {"chosen_by": chosen_by(round, plan), "groups": unit}
    if protocol.probe == "logistic":
        how["solver_steps"] = [int(one) for one in sweep.steps]
        how["converged"] = bool((sweep.gradient <= protocol.tolerance).all())
    return Fit(sweep.prediction * spread + offset, strength, how)


def _sweep(protocol, plan, x, y, query, classes: int) -> probes.Sweep:
    """The probe's sweep on padded arrays; predictions of the real query rows."""
    grid = np.asarray(protocol.strengths, np.float32)
    weights = pad(plan.train, 2), pad(plan.hold, 2)
    arguments = {"final": plan.final}
    if protocol.probe == "logistic":
        run = logistic.logistic_sweep
        arguments |= {
            "classes": classes,
            "balanced": protocol.balanced,
            "steps": protocol.steps,
            "tolerance": protocol.tolerance,
        }
    elif protocol.probe == "ridge":
        run = probes.ridge_sweep
    else:
        run = probes.knn_sweep
        arguments["largest"] = int(grid.max())
        grid = grid.astype(np.int32)
        if classes:
            y = np.eye(classes, dtype=np.float32)[y]
    sweep = over_devices(
        lambda x, y, grid, query, train, hold: run(
            x, y, train, hold, grid, query, **arguments
        ),
        [pad(x), pad(y), grid, pad(query)],
        weights,
    )
    return sweep._replace(prediction=sweep.prediction[:, : len(query)])
