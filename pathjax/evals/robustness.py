"""Robustness to sites as a task: two classes at two sites, pair by pair, one score of all.

    Task of kind robustness, Study, embeddings -> run_robustness -> TaskOutcome
    models, studies -> choose_k -> the k of the robustness index

A row of the outcome is a row of a pair; a tile that is in several pairs occurs in each,
and counts as one patient's. Intervals leave out patients, as of all other tasks:
as what is asked, and as neighbours. Nothing is embedded or written here.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from pathjax.embeddings.embedding_file import take
from pathjax.evals import EvalError
from pathjax.evals.audit import NO_SITE
from pathjax.evals.blocks import block_ids
from pathjax.evals.cells import Pair, two_by_two
from pathjax.evals.probes.base import FoldRows
from pathjax.evals.probes.knn import neighbours
from pathjax.evals.probes.robustness import K_GRID, CellProbe, class_accuracy
from pathjax.evals.protocols import Protocol
from pathjax.evals.row_features import Features, with_features
from pathjax.evals.rows import collect, column_of
from pathjax.evals.tasks import Task, TaskOutcome
from pathjax.stats.metrics import find_metric


@dataclasses.dataclass(frozen=True)
class Paired:
    """A task's rows, and the pairs of classes and sites among them.

    Attributes:
      rows: The tested rows that have a class and a site.
      group: Of each row: its patient, or its block.
      pairs: With row numbers into `rows`.
      info: What was left out.
      blocks: Whether `group` are blocks.
    """

    rows: FoldRows
    group: np.ndarray
    pairs: list[Pair]
    info: dict[str, Any]
    blocks: bool

    def features(self, pair: Pair) -> Float[np.ndarray, "m E"]:
        """Embeddings of a pair's rows."""
        return take(self.rows.features, pair.rows)


def paired(task: Task, study, features: Features, probe: CellProbe) -> Paired:
    """Collects a task's rows and pairs.

    Raises:
      EvalError: There is no pair, see `cells.two_by_two`.
    """
    (roles,) = task.fits(study)
    rows = collect(task, study, roles, task.level)[0]["test"]
    label, site = (
        column_of(study, task.level, str(name), rows)
        for name in (task.target, task.site)
    )
    labelled = label.notna().to_numpy()
    named = label.isin(task.classes) if task.classes else label.notna()
    sited = (site.notna() & ~site.astype(str).isin(NO_SITE)).to_numpy()
    asked = labelled & named.to_numpy()
    info: dict[str, Any] = {
        "unlabelled": {"test": int((~labelled).sum())},
        "of_other_classes": {"test": int((labelled & ~asked).sum())},
        "without_site": {"test": int((asked & ~sited).sum())},
    }
    kept = asked & sited
    if not kept.any():
        what = "class" if not asked.any() else f"site in column {task.site}"
        raise EvalError(f"no row of the test folds has a {what}: name another column")
    rows = with_features(study, task.level, {"": rows.keep(kept)}, features)[""]
    group, name = rows.patient, "patients"
    if task.blocks_um is not None:
        if len(np.unique(group)) > 1:
            raise EvalError(
                "blocks_um is for rows of one patient, got "
                f"{len(np.unique(group))} patients: leave it out, or name fewer folds"
            )
        group, name = block_ids(study, rows, task.blocks_um), "blocks"
    pairs, more = two_by_two(
        label[kept].astype(str).to_numpy(dtype=np.str_),
        site[kept].astype(str).to_numpy(dtype=np.str_),
        group,
        group_name=name,
        tiles=probe.tiles,
        pairs=probe.pairs,
    )
    info |= {"site": task.site, "pairs_left_out": more}
    return Paired(rows, group, pairs, info, task.blocks_um is not None)


def run_robustness(
    task: Task, study, features: Features, protocol: Protocol
) -> TaskOutcome:
    """Scores one set of embeddings; arguments as in `run.run_task`.

    Raises:
      EvalError: The rows have no pair, or too few patients for the metric.
    """
    probe = protocol.probe
    assert isinstance(probe, CellProbe)  # Task.problems
    data = paired(task, study, features, probe)
    metric = find_metric(task.metric_name(protocol), task.name)
    combine = "within" if probe.rows_point_at_rows else "mean"
    answers, records, start = [], [], 0
    for pair in data.pairs:
        answer, record = probe.answer(data.features(pair), pair)
        record = {"pair": pair.name, "rows": len(pair.rows)} | record
        record["groups"] = int(pair.group.max()) + 1
        value = metric.value(pair.cell, answer)
        records.append(record | {"value": value})
        if probe.rows_point_at_rows:
            answer = np.where(answer >= 0, answer + start, -1)
        answers.append(answer)
        start += len(pair.rows)
    truth = np.concatenate([pair.cell for pair in data.pairs])
    prediction = _stacked(answers)
    sizes = [len(pair.rows) for pair in data.pairs]
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    places = np.concatenate([pair.rows for pair in data.pairs])
    value = metric.value(truth, prediction, stratum, combine)
    chances = [metric.chance_level(pair.cell) for pair in data.pairs]
    return TaskOutcome(
        task=task,
        study=study.name,
        fingerprint=study.fingerprint,
        synthetic=bool(study.synthetic),
        protocol=protocol.name,
        metric=task.metric_name(protocol),
        value=value,
        chance=float(np.average(chances, weights=sizes)),
        truth=truth,
        prediction=prediction,
        columns=tuple(pair.name for pair in data.pairs),
        unit=data.rows.unit[places],
        patient=data.rows.patient[places],
        stratum=stratum,
        combine=combine,
        shared_patients=(),
        hyper=data.info | {"pairs": records},
        per_fold=[{"fold": task.test, "probe_seed": 0, "value": value}],
        block=data.group[places] if data.blocks else None,
    )


def _stacked(answers: list[np.ndarray]) -> np.ndarray:
    """One array; shorter lists of neighbours are filled with -1, levels with NaN."""
    width = max(answer.shape[-1] for answer in answers)
    fill = -1 if np.issubdtype(answers[0].dtype, np.integer) else np.nan
    return np.concatenate(
        [
            np.pad(
                answer,
                [(0, 0)] * (answer.ndim - 1) + [(0, width - answer.shape[-1])],
                constant_values=fill,
            )
            for answer in answers
        ]
    )


def best_k(task: Task, study, features: Features, probe: CellProbe) -> int:
    """The k whose nearest neighbours predict the class best, the smallest of equals.

    Balanced accuracy, the mean over pairs, of the k that all pairs have.
    """
    data = paired(task, study, features, probe)
    each = []
    for pair in data.pairs:
        largest = min(K_GRID[-1], len(pair.rows) - 1)
        near = neighbours(data.features(pair), pair.group, largest)
        # A row less when a patient is left out must still have k.
        spare = int(np.bincount(pair.group).max())
        each.append(class_accuracy(near[:, : near.shape[1] - spare], pair.cell))
    mean = pd.DataFrame(each).dropna(axis=1).mean()
    if mean.empty:
        raise EvalError("a pair has too few rows for any k: use more folds")
    return int(mean.idxmax())


def common_k(each: Iterable[int]) -> int:
    """The median over models, one that is in K_GRID, so that all are compared alike."""
    middle = float(np.median(list(each)))
    return min(K_GRID, key=lambda k: (abs(k - middle), k))
