"""eva's attention probe on a task's samples: bags of their tiles, padded and masked.

    Round -> bags -> abmil.abmil_fit, some runs at a time -> Fit

The fit fold is eva's train, the select fold its val, which chooses the epoch. Where a
task names no select fold, a fifth of the fit fold's patients, stratified, is held out
for it: slides have a test fold to keep, unlike eva's sets of tiles.

eva takes a sample's first 1,000 tiles in a shuffled order; here a larger bag is thinned
evenly, which does not depend on a seed. The fit itself is in abmil.py.
"""

import functools

import numpy as np

from pathjax.evals.abmil import abmil_fit
from pathjax.evals.fits.devices import over_devices
from pathjax.evals.fits.eva import of_runs
from pathjax.evals.fits.round import Fit, Round, chosen_by
from pathjax.evals.minibatch import predicted_class
from pathjax.evals.rows import bag_sizes, bags_of

HOLD_OUT = 5  # the fit fold is cut into this many, one of which chooses the epoch
GIBIBYTE = 1 << 30  # of bags in one batch of all runs that are fitted side by side


def fit_abmil(round: Round) -> Fit:
    """Fits the protocol's runs and predicts the test fold's samples."""
    protocol, folds, labels = round.protocol, round.folds, round.labels
    parts = {role: getattr(folds, role) for role in (*round.learned, "test")}
    sizes = [bag_sizes(round.study, part).max() for part in parts.values()]
    # A power of two: tasks of about one size share a compile.
    length = 1 << (min(int(max(sizes)), protocol.bag) - 1).bit_length()
    bags = {
        role: bags_of(round.study, part, round.features, protocol.bag, length)
        for role, part in parts.items()
    }
    if "select" in bags:
        train, val = (*bags["fit"], labels["fit"]), (*bags["select"], labels["select"])
        words = f"fold {round.task.select}: epoch"
    else:
        plan, unit = round.plan(1)
        hold = plan.hold[0, 0] > 0
        words = f"one of {chosen_by(round, plan)} of the fit fold by {unit}: epoch"
        whole = (*bags["fit"], labels["fit"])
        train, val = (tuple(one[part] for one in whole) for part in (~hold, hold))
    batch = 32 * length * round.features.shape[1] * 4
    together = max(1, GIBIBYTE // batch)
    fit = functools.partial(
        abmil_fit, classes=round.classes, learning_rate=protocol.strengths[0]
    )
    fits = [
        over_devices(
            fit,
            [*train, *val, *bags["test"]],
            [np.arange(first, min(first + together, protocol.seeds))],
        )
        for first in range(0, protocol.seeds, together)
    ]
    logits = np.concatenate([np.asarray(one.logits) for one in fits])
    predicted = np.asarray(predicted_class(logits))
    how = {
        "chosen_by": words,
        "groups": "none: samples are shuffled",
        "best_epoch": [int(e) for one in fits for e in one.epoch],
        "epochs": [int(e) for one in fits for e in one.epochs],
        "tiles_in_a_bag": length,
        **of_runs(labels["test"], predicted),
    }
    strength = protocol.strengths[:1] * protocol.seeds
    return Fit(np.eye(round.classes, dtype=np.float32)[predicted], strength, how)
