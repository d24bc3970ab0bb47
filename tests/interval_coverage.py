"""How often intervals hold the true value, and tests err: a simulation.

    python tests/interval_coverage.py --out coverage.json

Studies with known true values are simulated and go through `report.compare.compare`,
which makes every table: what is counted is what users see. "null" studies have a tuned
model that is no better than its base; their deltas' true value is 0. In "effect" studies
it is better; their true value is the mean of the reported deltas over all studies.
Embeddings and probes are not simulated, only their predictions.
"""

import argparse
import concurrent.futures
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import platform
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

import pathjax
from pathjax.commands.options import add_fields, read_fields
from pathjax.evals.results import ARRAYS, make_entry
from pathjax.evals.tasks import Task, TaskOutcome
from pathjax.files import write_json
from pathjax.parallel.preemption import process_pool, quiet_start
from pathjax.progress import stage
from pathjax.report.compare import compare
from pathjax.report.scores import Scored
from pathjax.stats.metric import StatisticsError
from pathjax.stats.metrics import find_metric
from pathjax.stats.survival import GRID

TASKS, GENES = 3, 4
# On the scales of probit, of Fisher's z, and of the distance of two classes' scores.
BASE = {"accuracy": 0.7, "pearson": 0.5, "auroc": 1.0, "auprc": 1.0, "c_index": 0.5}
KINDS = {"accuracy": "classification", "auroc": "classification", "auprc": "classification",
         "pearson": "expression", "c_index": "survival"}  # fmt: skip
EFFECT = 0.3  # on the same scales
SAME_PATIENT = 0.5  # correlation of the rows of a patient
SHARED = 0.6  # correlation of two models' errors on a row
LEVEL = 0.05
log = logging.getLogger(__name__)
COVERS, ERRS = (0.93, 0.97), (0.035, 0.065)  # the bars, for 20 patients or more


@dataclasses.dataclass(frozen=True)
class Options:
    """Size of the simulation.

    Attributes:
      studies: Tables for each design, null and effect each.
      permutations: Of a table; fewer than a report takes.
      seed: Of everything.
      processes: That share the work.
      only: Metrics, comma-separated; "" is all.
    """

    studies: int = 400
    permutations: int = 499
    seed: int = 1
    processes: int = 2
    only: str = ""


@dataclasses.dataclass(frozen=True)
class Design:
    """A kind of study.

    Attributes:
      metric: Of `BASE`.
      patients, rows: Test patients, and rows of each.
      seeds: Of fine-tuning.
      folds: Test folds whose scores are averaged; 1 is a single test set.
      seed_sd: How much seeds differ in their true score, on the scales of `BASE`.
    """

    metric: str
    patients: int
    rows: int
    seeds: int = 1
    folds: int = 1
    seed_sd: float = 0.0

    def key(self, seed: int, study: int, effect: float) -> tuple[int, ...]:
        """The seed of one study's random numbers."""
        return seed, study, int(effect > 0), zlib.crc32(repr(self).encode())


def designs(quick: bool) -> list[Design]:
    """The grid; `quick` leaves out large studies and several seeds."""
    grid = []
    for n in (7, 20, 50, 200):
        for rows in (1, 5):
            # Accuracies pool their folds, so that their folds change nothing.
            grid += [Design("accuracy", n, rows), Design("pearson", n, rows)]
            if rows == 5:  # one patient a fold, as HEST has few; or five folds
                grid.append(Design("pearson", n, rows, folds=n if n <= 20 else 5))
            elif n >= 20:  # r needs some patients in each fold
                grid.append(Design("pearson", n, rows, folds=5))
        grid += [Design(metric, n, 1) for metric in ("auroc", "auprc", "c_index")]
    grid += [Design("auroc", n, 5) for n in (20, 50)]  # rows of a patient: one class
    # Means over folds of 20 rows: of as many patients, and of four.
    grid += [Design("pearson", 60, 1, folds=3), Design("pearson", 20, 5, folds=5)]
    if quick:
        return [design for design in grid if design.patients <= 20]
    for metric in ("accuracy", "pearson"):
        grid += [Design(metric, 20, 5, seeds=seeds) for seeds in (2, 3, 5)]
        grid += [Design(metric, n, 5, seeds=5) for n in (7, 50)]
        # Seeds whose true scores differ: what one seed cannot know.
        grid += [
            Design(metric, 50, 5, seeds=seeds, seed_sd=0.1) for seeds in (1, 2, 3, 5)
        ]
    return [*grid, Design("pearson", 20, 5, seeds=3, folds=20)]


def simulate(design: Design, effect: float, key: tuple[int, ...]) -> list[Scored]:
    """The results of a base and a tuned model on TASKS tasks of the same patients.

    Accuracy: a row is right where BASE plus a standard normal error is above 0. Pearson:
    a prediction is the standard normal truth and an error, with r = tanh(BASE). AUROC and
    AUPRC: scores of patients of two classes are normal, BASE apart. C-index: as Pearson,
    and the truth is the log hazard of exponential times, censored uniformly. Errors are
    correlated between the rows of a patient and between models.
    """
    rng = np.random.default_rng(key)
    patient = np.repeat(np.arange(design.patients), design.rows)
    fold = patient * design.folds // design.patients

    def normal(width):
        """Standard normal `[n, width]`, alike within a patient."""
        between = rng.normal(size=(design.patients, width))[patient]
        within = rng.normal(size=(len(patient), width))
        return np.sqrt(SAME_PATIENT) * between + np.sqrt(1 - SAME_PATIENT) * within

    shifts = effect + design.seed_sd * rng.normal(size=design.seeds)
    models = [("base", None, None, 0.0)]
    models += [("tuned", "base", seed, shift) for seed, shift in enumerate(shifts)]
    scored = []
    for task in range(TASKS):
        if design.metric == "accuracy":
            truth, width = rng.integers(0, 2, len(patient)), 1
        elif KINDS[design.metric] == "classification":
            truth, width = rng.integers(0, 2, design.patients)[patient], 1
        elif design.metric == "c_index":
            width, hazard = 1, normal(1)[:, 0]
            died = rng.exponential(30 * np.exp(-hazard))
            left = rng.uniform(5, 90, len(patient))
            truth = np.stack([np.minimum(died, left), died <= left], axis=1)
        else:
            truth, width = normal(GENES), GENES
        difficulty = normal(width)
        for name, base, seed, shift in models:
            error = np.sqrt(SHARED) * difficulty + np.sqrt(1 - SHARED) * normal(width)
            level = BASE[design.metric] + shift
            if design.metric == "accuracy":
                prediction = np.where(error[:, 0] > -level, truth, 1 - truth)
            elif KINDS[design.metric] == "classification":
                second = scipy.special.ndtr(level * (truth - 0.5) + error[:, 0])
                prediction = np.stack([1 - second, second], axis=1)
            elif design.metric == "c_index":
                r = np.tanh(level)
                risk = r * hazard + np.sqrt(1 - r**2) * error[:, 0]
                prediction = np.pad(risk[:, None], ((0, 0), (0, len(GRID))))
            else:
                r = np.tanh(level)
                prediction = r * truth + np.sqrt(1 - r**2) * error
            outcome = _outcome(design, f"task{task}", truth, prediction, patient, fold)
            entry = make_entry(
                outcome, model=name, base=base, seed=seed, audit={"status": "clean"}
            )
            rows = {name: np.asarray(getattr(outcome, name)) for name in ARRAYS}
            scored.append(Scored(entry, rows))
    return scored


def _outcome(design: Design, name, truth, prediction, patient, fold) -> TaskOutcome:
    combine = "mean" if design.folds > 1 else "within"
    metric, kind = find_metric(design.metric), KINDS[design.metric]
    target = None if kind == "expression" else "y"
    columns = tuple(f"{kind} {i}" for i in range(GENES if target is None else 2))
    return TaskOutcome(
        task=Task(name, "simulated", target, kind, "s", "fit", "test"),
        study="simulated",
        fingerprint="",
        synthetic=True,
        protocol="simulated",
        metric=design.metric,
        value=metric.value(truth, prediction, fold, combine),
        chance=metric.chance_level(truth),
        truth=truth,
        prediction=prediction,
        columns=columns,
        unit=np.arange(len(patient)),
        patient=patient,
        stratum=fold,
        combine=combine,
        shared_patients=(),
        hyper={"events": 0} if kind == "survival" else {},
        per_fold=[],
    )


def run_design(design: Design, options: Options) -> dict[str, Any]:
    """Coverage and false positives of one design, as shares.

    Returns:
      The design; "null" and "effect", each with the coverage of the tuned model's
      `value`, of a `delta` and of the `mean_delta`; "null" also with the share of `test`
      (p < 0.05 before correction), of `holm` (any task's corrected p), of `mean_test`
      and of `interval` (any delta's interval excludes 0); tables made and tables
      `without_interval`, because a score was not defined.
    """
    result: dict[str, Any] = dataclasses.asdict(design) | {"without_interval": 0}
    for name, effect in (("null", 0.0), ("effect", EFFECT)):
        rows = []
        for study in range(options.studies):
            try:
                table = compare(
                    simulate(design, effect, design.key(options.seed, study, effect)),
                    # Tests are counted in null studies only.
                    permutations=1 if effect else options.permutations,
                    seed=study,
                )
            except StatisticsError:
                result["without_interval"] += 1
                continue
            rows += [row for row in table.rows if row.name == "tuned"]
        result[name] = _shares(rows, effect) if rows else {}
    return result | {"tables": 2 * options.studies}


def _shares(rows: Sequence[Any], effect: float) -> dict[str, float]:
    deltas = [list(row.deltas.values()) for row in rows]
    values = [value for row in rows for value in row.values.values()]
    every = [delta for row in deltas for delta in row]
    means = [row.mean for row in rows]
    shares = {
        "value": _covered(values, _centre(values)),
        "delta": _covered(every, _centre(every) if effect else 0.0),
        "mean_delta": _covered(means, _centre(means) if effect else 0.0),
    }
    if effect:
        return shares
    return shares | {
        "test": _share(delta.p < LEVEL for delta in every),
        "holm": _share(any(delta.p_holm < LEVEL for delta in row) for row in deltas),
        "mean_test": _share(mean.p < LEVEL for mean in means),
        "interval": _share(any(delta.excludes_zero for delta in row) for row in deltas),
    }


def _centre(estimates) -> float:
    return float(np.mean([estimate.value for estimate in estimates]))


def _covered(estimates, true: float) -> float:
    return _share(estimate.low <= true <= estimate.high for estimate in estimates)


def _share(marks) -> float:
    return float(np.mean(list(marks)))


def run(options: Options, quick: bool, out: Path | None = None) -> dict[str, Any]:
    """All designs, in several processes.

    Args:
      options, quick: Of the simulation; the grid of designs.
      out: JSON file. Designs in it that the same code made with the same options are
        kept; it is written after every design.
    """
    asked = options.only.split(",") if options.only else list(BASE)
    if unknown := sorted(set(asked) - set(BASE)):
        raise ValueError(
            f"only={','.join(unknown)}: expected some of {', '.join(BASE)}"
        )
    grid = [design for design in designs(quick) if design.metric in asked]
    results = _known(out, options)
    # Large studies take longest: first, so that no process waits for the last one.
    order = sorted(grid, key=lambda d: -d.patients * d.seeds * d.rows)
    order = [design for design in order if design not in results]

    def done(design: Design, result: dict[str, Any]) -> None:
        results[design] = result
        bar(len(results))
        if out is not None:
            write_json(out, _record(options, quick, grid, results))

    with stage("designs", len(grid)) as bar:
        if options.processes == 1:
            for design in order:
                done(design, run_design(design, options))
        else:
            with process_pool(options.processes) as pool:
                with quiet_start():
                    jobs = {pool.submit(run_design, one, options): one for one in order}
                for job in concurrent.futures.as_completed(jobs):
                    done(jobs[job], job.result())
    return _record(options, quick, grid, results)


def _record(options, quick, grid, results) -> dict[str, Any]:
    names = ("numpy", "scipy")
    return {
        "schema": 2,
        "what": "coverage",
        "pathjax": pathjax.__version__,
        "code": _code(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in names},
        "quick": quick,
        "options": dataclasses.asdict(options),
        "designs": [results[design] for design in grid if design in results],
    }


def _code() -> str:
    """SHA-256 of the files that the figures follow from, this one among them."""
    root = Path(pathjax.__file__).parent
    files = [*(root / "stats").glob("*.py"), Path(__file__)]
    files += [
        root / "report" / f"{name}.py" for name in ("compare", "paired", "scores")
    ]
    text = b"".join(path.read_bytes() for path in sorted(files))
    return hashlib.sha256(text).hexdigest()


def _known(out: Path | None, options: Options) -> dict[Design, dict[str, Any]]:
    """Results in a file of an earlier run; none if code or options were others."""
    if out is None or not out.exists():
        return {}
    known = json.loads(out.read_text("utf-8"))
    free = {"processes": 0, "only": ""}  # what results do not depend on
    same = dataclasses.asdict(options) | free
    if known.get("code") != _code() or known["options"] | free != same:
        log.warning("%s is of other code or options: all designs are run again", out)
        return {}
    names = [field.name for field in dataclasses.fields(Design)]
    return {Design(*(row[name] for name in names)): row for row in known["designs"]}


# Column -> part and key of a result; the bars are those of coverage or of errors.
COLUMNS = {
    "value": ("effect", "value"),
    "delta, no effect": ("null", "delta"),
    "delta": ("effect", "delta"),
    "mean delta": ("effect", "mean_delta"),
    "p < 0.05": ("null", "test"),
    "any after Holm": ("null", "holm"),
    "mean delta's p": ("null", "mean_test"),
    "any interval without 0": ("null", "interval"),
}


def markdown(result: Mapping[str, Any]) -> str:
    """The table for docs/statistics.md, in percent; bold is worse than the bars."""
    head = ["score", "patients", "rows each", "folds", "seeds", *COLUMNS]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in result["designs"]:
        seeds = str(row["seeds"]) + ("; they differ" if row["seed_sd"] else "")
        cells = [row["metric"], row["patients"], row["rows"], row["folds"], seeds]
        cells += [_cell(row, *where) for where in COLUMNS.values()]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _cell(row: Mapping[str, Any], part: str, key: str) -> str:
    share = row[part].get(key)
    if share is None:
        return "none"
    text = f"{100 * share:.1f}"
    covers = key in ("value", "delta", "mean_delta")
    bad = share < COVERS[0] if covers else share > ERRS[1]
    # The family of all tests is bounded by Holm; the intervals are not corrected.
    return f"**{text}**" if bad and key != "interval" else text


def main(words: Sequence[str] | None = None) -> None:
    """Runs the simulation and prints its table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="small studies only")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    add_fields(parser, Options)
    args = parser.parse_args(words)
    print(markdown(run(read_fields(args, Options), args.quick, args.out)))


if __name__ == "__main__":
    main()
