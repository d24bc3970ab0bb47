"""HEST's ridge on a task's folds, at HEST's alpha or at one chosen inside the fit fold.

Round -> hest_ridge.hest_choice (with a grid) -> hest_ridge.hest_ridge -> Fit
"""

import numpy as np

from pathjax.evals.fits.round import Fit, Round, chosen, chosen_by
from pathjax.evals.hest_ridge import hest_alpha, hest_choice, hest_ridge


def fit_hest(round: Round) -> Fit:
    """Fits all genes and predicts the test fold.

    Without a grid the alpha is HEST's, and fit and select rows are learned from
    together. With one it is chosen on the select fold, or over folds of the fit fold's
    patients.
    """
    protocol, query = round.protocol, round.folds.test.features
    x, y = round.rows("features"), round.y
    components = protocol.components
    if protocol.strengths:
        alphas = np.asarray(protocol.strengths, np.float32)
        plan, unit = round.plan(1)
        held_out = plan.hold[0].sum(axis=1) > 0
        loss = hest_choice(
            x,
            y,
            plan.train[0][held_out],
            plan.hold[0][held_out],
            alphas,
            components=components,
        )
        best = int(np.argmin(loss))
        strength, how = chosen(protocol.strengths, [best], np.asarray(loss)[None])
        how |= {"chosen_by": chosen_by(round, plan), "groups": unit}
        weight = plan.train[0, plan.final]
    else:
        strength = (hest_alpha(components, *x.shape, y.shape[1]),)
        how = {"chosen_by": "nothing: alpha is HEST's", "groups": "none"}
        weight = np.ones(len(x), np.float32)
    found = hest_ridge(x, y, query, np.float32(strength), weight, components=components)
    return Fit(np.asarray(found), strength, how)
