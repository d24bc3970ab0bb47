"""HEST-bench's files: scores of each gene by encoder and split, and their means.

    DATASET/ENCODER/split0/results.json, summary.json; DATASET/ENCODER/results_kfold.json
    DATASET/enc_results.json; dataset_results.json, dataset_results.csv

As src/hest/bench/benchmark.py and trainer.py of mahmoodlab/HEST (0512f57) write them. A
gene that is constant over a split's test rows has r null and is left out of means, where
HEST's are NaN; a constant prediction has r 0.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.files import write_csv, write_json
from pathjax.report.leaderboards.results_by_fold import (
    Written,
    by,
    finite,
    folds_of,
    model_of,
)
from pathjax.report.scores import Scored
from pathjax.report.style import slug
from pathjax.stats.correlation import per_gene_pearson

KINDS = ("expression",)
OWN = ("hest-ridge/1",)  # its own protocol


def write(items: Sequence[Scored], out: Path) -> Written:
    """Writes the files of expression tasks, each a dataset."""
    firsts = [item for item in items if "of" not in item.entry]
    paths, datasets = [], []
    for task, models in by(firsts, lambda item: item.entry["task"]).items():
        dataset, results = slug(task.removeprefix("HEST ")), []
        for item in models:
            folder, splits = out / dataset / slug(model_of(item)), []
            for k, (rows, record) in enumerate(folds_of(item)):
                split = _hest_split(item, rows)
                splits.append(split)
                count = len(item.rows["truth"][rows])  # type: ignore[index]
                sizes = {"n_train": record["n_fit"], "n_test": count}
                for name, content in (("results", split), ("summary", sizes | split)):
                    paths.append(folder / f"split{k}" / f"{name}.json")
                    write_json(paths[-1], content)
            means = [split["pearson_mean"] for split in splits]
            whole = {
                "pearson_mean": float(np.mean(means)),
                "pearson_std": float(np.std(means)),
            }
            paths.append(folder / "results_kfold.json")
            genes = _hest_genes(splits)
            write_json(
                paths[-1], whole | {"pearson_corrs": genes, "mean_per_split": means}
            )
            results.append({"encoder_name": model_of(item)} | whole)
        results.sort(key=lambda one: -one["pearson_mean"])
        paths.append(out / dataset / "enc_results.json")
        write_json(paths[-1], {"results": results})
        datasets.append({"dataset_name": dataset, "results": results})
    each: dict[str, list[float]] = {}
    for found in datasets:
        for one in found["results"]:
            each.setdefault(one["encoder_name"], []).append(one["pearson_mean"])
    average = {name: float(np.mean(values)) for name, values in each.items()}
    average = dict(sorted(average.items(), key=lambda pair: -pair[1]))
    paths.append(out / "dataset_results.json")
    write_json(paths[-1], {"results": datasets, "average": average})
    columns = [f"{name}_{what}" for name in average for what in ("mean", "std")]
    lines = []
    for k, found in enumerate(datasets):
        own = {one["encoder_name"]: one for one in found["results"]}
        cells = [
            own[name][f"pearson_{what}"] if name in own else None
            for name in average
            for what in ("mean", "std")
        ]
        lines.append([k, found["dataset_name"], *cells])
    paths.append(out / "dataset_results.csv")
    write_csv(paths[-1], ["", "dataset", *columns], lines)
    partial = [name for name, values in each.items() if len(values) < len(datasets)]
    return paths, [f"average over fewer tasks: {', '.join(partial)}"] if partial else []


def _hest_split(item: Scored, rows: slice) -> dict[str, Any]:
    """Scores of each gene over the pooled test rows of one split, and their quartiles."""
    assert item.rows is not None
    truth, guess = (
        item.rows[name][rows].astype(np.float64) for name in ("truth", "prediction")
    )
    asked = ~np.isnan(truth).all(axis=0)
    names = [str(name) for name in item.rows["columns"][asked]]
    truth, guess = truth[:, asked], guess[:, asked]
    r, error = per_gene_pearson(truth, guess), ((guess - truth) ** 2).mean(axis=0)
    spread = truth.var(axis=0)
    r2 = 1 - np.divide(error, spread, out=np.full_like(error, np.nan), where=spread > 0)
    quartiles = {
        f"{name}_q{k}": finite(np.nanpercentile(values, [25 * k]))[0]
        for name, values in (("l2_error", error), ("r2_score", r2))
        for k in (1, 2, 3)
    }
    corrs = [
        {"name": name, "pearson_corr": value}
        for name, value in zip(names, finite(r), strict=True)
    ]
    return quartiles | {
        "l2_errors": finite(error),
        "r2_scores": finite(r2),
        "pearson_corrs": corrs,
        "pearson_mean": float(np.nanmean(r)),
        "pearson_std": float(np.nanstd(r)),
    }


def _hest_genes(splits: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each gene's r over the splits that have it, the best first."""
    each: dict[str, list[float | None]] = {}
    for split in splits:
        for gene in split["pearson_corrs"]:
            each.setdefault(gene["name"], []).append(gene["pearson_corr"])
    genes = []
    for name, values in each.items():
        known = [value for value in values if value is not None]
        mean = float(np.mean(known)) if known else None
        std = float(np.std(known)) if known else None
        genes.append({"name": name, "pearson_corrs": values, "mean": mean, "std": std})
    return sorted(genes, key=lambda gene: -np.inf if gene["mean"] is None else gene["mean"],
                  reverse=True)  # fmt: skip
