"""The table of launch/survival.sh, from its results; and scikit-survival on the same folds.

    python launch/survival_tables.py DATA OUT COHORT ... [--peer]

It writes OUT/survival.md, a row for each cohort, and the question over all of them twice:
all pairs of a fold, and those of one cancer type. With `--peer` OUT/peer.csv has the
concordance of coordinate descent (with a millionth of the penalty as l1, as it has no
ridge) on the same folds, with the strength that it chooses itself by the same inner folds.
"""

import sys
from pathlib import Path

import numpy as np

from pathjax.evals.folds import fold_weights
from pathjax.evals.protocols import PROTOCOLS
from pathjax.files import read_json
from pathjax.modalities.cohort import TYPE, Cohort
from pathjax.modalities.features import Preparation, prepare
from pathjax.modalities.sources import from_tables
from pathjax.stats.interval import score_interval
from pathjax.stats.survival import C_INDEX

COLUMNS = ("rna", "clinical", "type", "clinical+type", "rna+clinical")
HEAD = ("RNA", "age", "type", "age + type", "RNA + age")


def cells_of(folder: Path) -> dict[str, dict]:
    """The finished cells of one question, on the samples that all modalities have."""
    cells = read_json(folder / "results.json", {"cells": list})["cells"]
    own = [cell for cell in cells if cell["rows"] == "common"]
    return {
        "+".join(sorted(cell["modalities"], key=list(COLUMNS).index)): cell
        for cell in own
    }


def predictions(folder: Path, cell: dict) -> dict[str, np.ndarray]:
    """`sample_id`, `truth`, `score` and `fold` of a cell's rows."""
    with np.load(folder / "cells" / cell["predictions"]) as file:
        return dict(file)


def scored(metric: str, cell: dict | None) -> str:
    """A cell's value with its interval; nothing where there is no cell."""
    if cell is None:
        return ""
    one = cell["scores"][metric]
    return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def within_types(cohort: Cohort, rows: dict[str, np.ndarray]) -> str:
    """Concordance over pairs of one fold and one cancer type."""
    of = cohort.samples.set_index("sample_id")[TYPE].astype(str)
    types = of.loc[rows["sample_id"]].to_numpy(dtype=np.str_)
    known = types != "None"
    pairs = np.stack([rows["fold"][known].astype(str), types[known]], axis=1)
    stratum = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    truth, score = rows["truth"][known], rows["score"][known]
    unit = np.arange(len(truth))  # a row is a patient
    low, high = score_interval(C_INDEX, truth, [score], unit, stratum=stratum)
    return f"{C_INDEX.value(truth, score, stratum):.3f} [{low:.3f}, {high:.3f}]"


def peer(cohort: Cohort, rows: dict[str, np.ndarray]) -> float:
    """Concordance of scikit-survival's coordinate descent, pairs within folds."""
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.metrics import concordance_index_censored

    samples = cohort.samples["sample_id"].tolist()
    place = np.array([samples.index(one) for one in rows["sample_id"]])
    values = cohort.modalities["rna"].at(np.sort(place))[np.argsort(np.argsort(place))]
    probe = PROTOCOLS["cox/1"].probe
    kinds = [("event", bool), ("time", float)]
    target = np.array([(e > 0, t) for t, e in rows["truth"]], kinds)

    def counted(risk, own):
        _, right, wrong, tied, _ = concordance_index_censored(
            target["event"][own], target["time"][own], risk
        )
        return right + tied / 2, right + wrong + tied

    def path(x, fit, test):
        """Counts at each strength, `[S, 2]`."""
        spread = x[fit].std(axis=0)
        z = (x - x[fit].mean(axis=0)) / np.where(spread > 0, spread, 1)
        model = CoxnetSurvivalAnalysis(alphas=probe.grid, l1_ratio=1e-6)
        risk = z[test] @ model.fit(z[fit], target[fit]).coef_
        return np.array([counted(one, test) for one in risk.T])

    total = np.zeros(2)
    for fold in np.unique(rows["fold"]):
        train = rows["fold"] != fold
        x = prepare([("rna", values)], train, Preparation()).astype(np.float64)
        inside = np.flatnonzero(train)
        patients = np.unique(rows["sample_id"][inside], return_inverse=True)[1]
        weights = fold_weights(
            patients, np.zeros(len(inside), bool), rows["truth"][inside, 1].astype(int),
            seeds=1, folds=probe.folds, seed=probe.resample_seed,
        )  # fmt: skip
        held = [inside[one > 0] for one in weights.val[0] if one.any()]
        inner = sum(path(x, np.setdiff1d(inside, one), one) for one in held)
        best = int(np.argmax(inner[:, 0] / inner[:, 1]))
        total += path(x, inside, np.flatnonzero(~train))[best]
    return float(total[0] / total[1])


def main(data: Path, out: Path, cohorts: list[str], with_peer: bool) -> None:
    """Writes and prints the tables."""
    lines = [
        f"| cohort | n, events | {' | '.join(HEAD)} | Brier, RNA (one curve) |",
        f"|{'---|' * (len(HEAD) + 3)}",
    ]
    apart = ["cohort,pathjax,scikit-survival,difference"]
    names = [*cohorts, *(["all"] if (out / "os-all").is_dir() else [])]
    for name in names:
        folder = out / f"os-{name}"
        cells = cells_of(folder)
        rows = predictions(folder, cells["rna"])
        brier = cells["rna"]["scores"]["brier_integrated"]
        ends = f"{brier['value']:.3f} ({brier['chance']:.3f})"
        size = f"{len(rows['truth'])}, {int(rows['truth'][:, 1].sum())}"
        values = [scored("c_index", cells.get(one)) for one in COLUMNS]
        title = "pan-cancer" if name == "all" else name.upper()
        lines.append(f"| {title} | {size} | {' | '.join(values)} | {ends} |")
        if name == "all" or with_peer:
            table = "*" if name == "all" else name
            labels = sorted(data.glob(f"tcga_{table}_all_clean.csv.zip"))
            cohort = from_tables(out / f"{name}.h5ad", labels)
        if name == "all":
            values = [
                within_types(cohort, predictions(folder, cells[one]))
                if one in cells and one != "type" else ""
                for one in COLUMNS
            ]  # fmt: skip
            title = "pan-cancer fit, pairs within a type"
            lines.append(f"| {title} | {size} | {' | '.join(values)} | |")
        elif with_peer:
            ours, theirs = (
                cells["rna"]["scores"]["c_index"]["value"],
                peer(cohort, rows),
            )
            apart.append(f"{name},{ours:.4f},{theirs:.4f},{ours - theirs:+.4f}")
            print(apart[-1], flush=True)
    (out / "survival.md").write_text("\n".join(lines) + "\n", "utf-8")
    print("\n".join(lines))
    if with_peer:
        (out / "peer.csv").write_text("\n".join(apart) + "\n", "utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(str(__doc__))
    names = [one for one in sys.argv[3:] if one != "--peer"]
    main(Path(sys.argv[1]), Path(sys.argv[2]), names, "--peer" in sys.argv)
