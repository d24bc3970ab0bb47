"""Expression of which some samples were measured for some genes only, for tests."""

import numpy as np
import pandas as pd

from pathjax.data.measured import state


def withhold(expression, samples, genes):
    """A copy in which `genes` were not measured in `samples`: a second panel."""
    made = expression.copy()
    rows = made.obs_names.isin(samples)
    columns = made.var_names.isin(genes)
    values = [made.X, *made.layers.values()]
    for one in values:
        one[np.ix_(rows, columns)] = 0
    known = pd.DataFrame({"whole": True, "panel": ~columns}, index=made.var_names)
    state(made, known, np.where(rows, "panel", "whole"))
    return made
