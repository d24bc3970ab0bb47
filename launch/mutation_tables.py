"""The tables of launch/mutations.sh, from its results.

    python launch/mutation_tables.py OUT COHORT ...

OUT/mutations.csv has a row for each gene and cohort, OUT/mutations.md one for each cohort
and the best genes. p is by the permuted labels of all cohorts together, so that it can be
as small as many tests ask for, and q over all genes of all cohorts.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.files import read_json
from pathjax.modalities.screen import shares_above, table_of
from pathjax.stats.metrics import AUROC
from pathjax.stats.permutation import q_values

BEST = 10


def scored(row: pd.Series, metric: str) -> str:
    """A value with its interval."""
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    return f"{row[metric]:.3f} [{low:.3f}, {high:.3f}]"


def told_by_burden(truth: np.ndarray) -> list[float]:
    """AUROC of each gene by the number of other genes that a patient has mutated.

    Args:
      truth: `[G, n]`, 1 for one of the two states, -1 where it is not known.
    """
    values = []
    for own in truth:
        others = (truth == 1).sum(axis=0) - (own == 1)
        known = own >= 0
        score = np.stack([-others, others], axis=1)[known].astype(np.float64)
        values.append(AUROC.value(own[known], score))
    return values


def main(out: Path, cohorts: list[str]) -> None:
    """Writes both tables and prints the second."""
    parts, nulls, about = [], [], {}
    for cohort in cohorts:
        folder = out / f"mutations-{cohort}"
        result = read_json(folder / "screen.json", {"targets": list, "permuted": dict})
        about[cohort] = result["permuted"]["rna"]
        with np.load(folder / "screen-rna.npz") as file:
            nulls.append(file["null"])
            burden = told_by_burden(file["truth"])
        table = table_of(result["targets"]).set_index("target", drop=False)
        names = [one["target"] for one in result["targets"]]
        table["auroc_burden"] = pd.Series(burden, names)
        parts.append(table.assign(cohort=cohort.upper()))
    table = pd.concat(parts, ignore_index=True)
    null = np.concatenate(nulls)
    table["p"] = shares_above(table["z"].to_numpy(), null)
    table["q"] = q_values(table["p"])
    table.insert(0, "gene", table.pop("target").str.removeprefix("mutation:"))
    table.insert(0, "cohort", table.pop("cohort"))
    table = table.drop(columns=["modality", "balanced_accuracy_chance"])
    table = table.sort_values("auroc", ascending=False, ignore_index=True)
    table.to_csv(out / "mutations.csv", index=False, float_format="%.4g")
    lines = [
        "| cohort | patients | genes | q < 0.05 | above burden | AUROC | by burden | z |",
        f"|{'---|' * 8}",
    ]
    for cohort in cohorts:
        own = table[table["cohort"] == cohort.upper()]
        sure = own[own["q"] < 0.05]
        above = int((sure["auroc"] > sure["auroc_burden"]).sum())
        middle = [f"{own[one].median():.3f}" for one in ("auroc", "auroc_burden")]
        cells = (cohort.upper(), own["n"].max(), len(own), len(sure), above, *middle)
        spread = f"{about[cohort]['z_spread']:.2f}"
        lines.append(f"| {' | '.join(map(str, cells))} | {spread} |")
    sure = table[table["q"] < 0.05]
    above = int((sure["auroc"] > sure["auroc_burden"]).sum())
    cells = ("all", "", len(table), len(sure), above, "", "", f"{null.std():.2f}")
    lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "",
        "| gene | cohort | mutated | AUROC | by burden | AUPRC | balanced accuracy | q |",
        f"|{'---|' * 8}",
    ]
    for _, row in table.head(BEST).iterrows():
        mutated = f"{row['of_it']} of {row['n']}"
        if row["smaller_class"] != "mutated":
            mutated = f"{row['n'] - row['of_it']} of {row['n']}"
        values = [scored(row, one) for one in ("auroc", "auprc", "balanced_accuracy")]
        values.insert(1, f"{row['auroc_burden']:.3f}")
        cells = (row["gene"], row["cohort"], mutated, *values, f"{row['q']:.2g}")
        lines.append(f"| {' | '.join(cells)} |")
    (out / "mutations.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(str(__doc__))
    main(Path(sys.argv[1]), sys.argv[2:])
