"""Which genes are predicted, under which names, and how far each can be trusted.

    --genes ESR1,ERBB2 | FILE | all of the panel -> places in the panel
    genes.csv of `pathjax predict --measured`    -> held-out r of each gene

A checkpoint does not know how well it predicts a gene: that is measured on data that it
has not seen, and until somebody has, the answer is "unknown".
"""

import csv
import dataclasses
import difflib
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.expression import GenePanel

# Below this r on held-out samples a map is mostly not that gene: 4 % of the variance.
POOR_R = 0.2
GOOD, POOR, UNKNOWN = "r >= 0.2", "poor: r < 0.2", "unknown"


class GeneError(ValueError):
    """Genes that a model does not predict, or a table of genes that cannot be read."""


def chosen(panel: GenePanel, asked: str | None) -> list[int]:
    """Places in the panel of the genes asked for, in the order asked; None is all.

    Args:
      panel: of the model.
      asked: names with commas between them, or a file of names, one a line. A name is
        the panel's, or a gene's symbol or Ensembl id where the panel has them.

    Raises:
      GeneError: all names that the panel lacks, with the nearest that it has.
    """
    if asked is None:
        return list(range(len(panel.genes)))
    path = Path(asked)
    if path.is_file():
        words = path.read_text(encoding="utf-8").splitlines()
    else:
        words = asked.split(",")
    names = list(dict.fromkeys(word.strip() for word in words if word.strip()))
    if not names:
        raise GeneError(f"--genes {asked!r} names no gene")
    known: dict[str, int] = {}
    for aliases in (*panel.ids.values(), panel.genes):  # the panel's own names go first
        known |= {name: place for place, name in enumerate(aliases) if name}
    lacking = [name for name in names if name not in known]
    if lacking:
        upper = {name.upper(): name for name in known}
        told = []
        for name in lacking[:10]:
            near = difflib.get_close_matches(name.upper(), upper, 3, 0.5)
            close = ", ".join(upper[one] for one in near)
            told.append(f"{name} (nearest: {close or 'none'})")
        raise GeneError(
            f"the model does not predict {len(lacking)} of {len(names)} genes: "
            f"{', '.join(told)}{', ...' if len(lacking) > 10 else ''}. It predicts "
            f"{len(panel.genes)}; leave --genes away to have them all"
        )
    return list(dict.fromkeys(known[name] for name in names))


@dataclasses.dataclass(frozen=True)
class Validation:
    """How well genes were predicted on held-out samples.

    Attributes:
      source: the file that says so; "" where nobody knows.
      r: gene to Pearson r, the mean over the slides measured.
      n: gene to the number of samples.
    """

    source: str = ""
    r: dict[str, float] = dataclasses.field(default_factory=dict)
    n: dict[str, int] = dataclasses.field(default_factory=dict)


def read_validation(path: Path) -> Validation:
    """Reads genes.csv of a measured prediction: columns gene, n, r.

    Raises:
      GeneError: it has other columns, or a number that is none.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"gene", "n", "r"} <= set(rows[0]):
        raise GeneError(
            f"{path} has no columns gene, n and r: wanted genes.csv as `pathjax predict "
            "--measured` writes it"
        )
    r: dict[str, list[float]] = {}
    n: dict[str, int] = {}
    try:
        for row in rows:
            if row["r"]:  # empty where a gene was constant
                r.setdefault(row["gene"], []).append(float(row["r"]))
                n[row["gene"]] = n.get(row["gene"], 0) + int(row["n"])
    except ValueError as error:
        raise GeneError(f"{path}: {error}; wanted numbers in n and r") from error
    return Validation(str(path), {g: float(np.mean(v)) for g, v in r.items()}, n)


def gene_table(
    panel: GenePanel, places: list[int], validation: Validation
) -> pd.DataFrame:
    """`var` of the predictions: names, training statistics and what is known of each.

    Columns `symbol` and `ensembl` ("" where unknown), `train_mean` and `train_sd` in
    the panel's unit, `validation_r` (NaN where unknown), `validation_n` and `trust`.
    """
    names = [panel.genes[place] for place in places]
    ensembl = [name if name.startswith("ENSG") else "" for name in names]
    symbol = ["" if name.startswith("ENSG") else name for name in names]
    kept = {key: [ids[place] for place in places] for key, ids in panel.ids.items()}
    r = np.array([validation.r.get(name, np.nan) for name in names])
    trust = np.where(np.isnan(r), UNKNOWN, np.where(r < POOR_R, POOR, GOOD))
    return pd.DataFrame(
        {
            "symbol": kept.get("symbol", symbol),
            "ensembl": kept.get("ensembl", ensembl),
            "train_mean": panel.mean[places],
            "train_sd": panel.std[places],
            "validation_r": r,
            "validation_n": [validation.n.get(name, 0) for name in names],
            "trust": trust,
        },
        index=pd.Index(names, dtype=object),
    )
