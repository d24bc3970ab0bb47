"""Expression of patients from that of their aliquots: the first, or the mean.

    AnnData of samples, aliquots of each patient -> AnnData of patients

Knows nothing of slides. The scale of `X` is left as it is (docs/tcga.md, RNA).
"""

from collections.abc import Mapping, Sequence

import anndata
import numpy as np
import pandas as pd
import scipy.sparse

RULES = ("first", "mean")


def of_patients(
    rna: anndata.AnnData, aliquots: Mapping[str, Sequence[str]], rule: str = "first"
) -> anndata.AnnData:
    """A row per patient.

    Args:
      rna: rows named as in `aliquots`.
      aliquots: patient to its rows; the first is the one that "first" takes.
      rule: "first", or "mean": of `X` as it stands (a mean of logarithms), and the sum
        of counts, as if the aliquots had been sequenced as one.

    Returns:
      `obs_names` are patients; `obs` has sample_type, sample and project of the first
      row and `aliquots`, the names of all that entered. `uns` is kept and says the
      rule.

    Raises:
      ValueError: another rule.
    """
    if rule not in RULES:
        raise ValueError(f"aliquots {rule!r}: expected one of {', '.join(RULES)}")
    used = {
        p: list(names[:1] if rule == "first" else names)
        for p, names in aliquots.items()
    }
    first = rna[[names[0] for names in used.values()]]
    columns = [name for name in ("sample_type", "sample", "project") if name in rna.obs]
    obs = first.obs[columns].set_axis(pd.Index(list(used), dtype=object))
    obs["aliquots"] = [", ".join(names) for names in used.values()]
    # From 0.13 on, AnnData lists X among the layers, as None.
    named = [name for name in first.layers if name is not None]
    x, layers = first.X, {name: first.layers[name] for name in named}
    several = {place: names for place, names in enumerate(used.values()) if names[1:]}
    if several:
        x = x.toarray() if scipy.sparse.issparse(x) else np.array(x)
        layers = {
            name: one.toarray() if scipy.sparse.issparse(one) else np.array(one)
            for name, one in layers.items()
        }
        for place, names in several.items():
            rows = rna[names]
            x[place] = rows.X.mean(axis=0)
            for name, layer in layers.items():
                layer[place] = rows.layers[name].sum(axis=0)
    history = {**rna.uns.get("pathjax", {}), "aliquots": rule}
    return anndata.AnnData(
        X=x.copy(),
        obs=obs,
        var=rna.var,
        layers={name: one.copy() for name, one in layers.items()},
        uns={**rna.uns, "pathjax": history},
    )
