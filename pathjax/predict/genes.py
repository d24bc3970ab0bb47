"""Which genes are predicted, under which names, and how reliable each is.

    --genes ESR1,ERBB2 | FILE | all of the panel -> indices in the panel
    genes.csv of `pathjax predict --measured`    -> held-out r of each gene

A checkpoint does not record how well it predicts a gene: that is measured on held-out
data, and until then the answer is "unknown".
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.expression import GenePanel
from pathjax.data.tables import number, read_list, read_table
from pathjax.predict import PredictError
from pathjax.registry import did_you_mean

# Below this r on held-out samples a map is mostly not that gene: 4 % of the variance.
POOR_R = 0.2
GOOD, POOR, UNKNOWN = "r >= 0.2", "poor: r < 0.2", "unknown"


def chosen(panel: GenePanel, asked: str | None) -> list[int]:
    """Indices in the panel of the requested genes, in their order; None is all.

    Args:
      panel: Of the model.
      asked: Comma-separated names, or a file with one name per line. A name is the
        panel's, or a gene's symbol or Ensembl id where the panel has them.

    Raises:
      PredictError: Names that the panel lacks, with similar ones that it has.
    """
    if asked is None:
        return list(range(len(panel.genes)))
    path = Path(asked)
    words = read_list(path) if path.is_file() else asked.split(",")
    names = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not names:
        raise PredictError(f"--genes {asked!r} names no gene")
    known = panel.places()
    lacking = [name for name in names if name not in known]
    if lacking:
        hints = [f"{one} ({did_you_mean(one.upper(), known)})" for one in lacking[:3]]
        raise PredictError(
            f"the model does not predict {len(lacking)} of {len(names)} genes: "
            f"{', '.join(hints)}{', ...' if len(lacking) > 3 else ''}. It predicts "
            f"{len(panel.genes)}; leave out --genes for all of them"
        )
    return list(dict.fromkeys(known[name] for name in names))


@dataclasses.dataclass(frozen=True)
class Validation:
    """How well genes were predicted on held-out samples.

    Attributes:
      source: The file; "" where unknown.
      r: Gene to Pearson r, the mean over the slides measured.
      n: Gene to the number of samples.
    """

    source: str = ""
    r: dict[str, float] = dataclasses.field(default_factory=dict)
    n: dict[str, int] = dataclasses.field(default_factory=dict)


def read_validation(path: Path) -> Validation:
    """Reads genes.csv of a measured prediction: columns gene, n, r.

    Raises:
      PredictError: It has other columns or no numbers.
    """
    try:
        table = read_table(path, ("gene", "n", "r"), required=("gene", "n", "r"))
        table = table[(table[["gene", "n", "r"]] != "").all(axis=1)]
        numbers = {
            "n": np.array([int(number(n)) for n in table["n"]], np.int64),
            "r": np.array([number(r) for r in table["r"]], np.float64),
        }
        genes = table.assign(**numbers).groupby("gene")
    except ValueError as error:
        raise PredictError(
            f"{path}: expected columns gene, n and r with numbers in n and r, as `pathjax "
            f"predict --measured` writes them in genes.csv ({error})"
        ) from error
    r, n = genes["r"].mean().to_dict(), genes["n"].sum().to_dict()
    return Validation(str(path), r, n)


def gene_table(
    panel: GenePanel, places: list[int], validation: Validation
) -> pd.DataFrame:
    """`var` of the predictions: names, training statistics and reliability.

    Columns `symbol` and `ensembl` ("" where unknown), `train_mean` and `train_sd` in
    the panel's unit, `validation_r` (NaN where unknown), `validation_n` and `trust`.
    """
    names = [panel.genes[place] for place in places]
    is_id = [name.startswith("ENSG") for name in names]
    guess = {
        "symbol": ["" if i else name for i, name in zip(is_id, names, strict=True)],
        "ensembl": [name if i else "" for i, name in zip(is_id, names, strict=True)],
    }
    kept = {key: [ids[place] for place in places] for key, ids in panel.ids.items()}
    r = np.array([validation.r.get(name, np.nan) for name in names])
    return pd.DataFrame(
        {
            **{key: kept.get(key, guess[key]) for key in ("symbol", "ensembl")},
            "train_mean": panel.mean[places],
            "train_sd": panel.std[places],
            "validation_r": r,
            "validation_n": [validation.n.get(name, 0) for name in names],
            "trust": np.where(np.isnan(r), UNKNOWN, np.where(r < POOR_R, POOR, GOOD)),
        },
        index=pd.Index(names, dtype=object),
    )
