"""All notes below a table: data, protocol, seeds, leakage, intervals, tests."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from pathjax.evals.results import rows_left_out
from pathjax.report.paired import corrected
from pathjax.report.table_data import (
    INTERVAL_ONLY,
    LEVEL,
    OPTIMISTIC,
    Column,
    Estimate,
    Row,
    Table,
)
from pathjax.stats.interval import ENOUGH_PATIENTS

FROM_NUMBERS = "Made from numbers alone: there are no intervals."
# Folds of several patients that had fewer of either covered 97 to 99.5 % in simulations
# (docs/statistics.md).
FOLD_ROWS, FOLD_PATIENTS = 20, 10
OWN_VALUE = "=: the tuned model's value in percent; its base has none."
AUDIT = {
    "unknown": "what it was trained on is unknown, so test patients may be among it",
    "not audited": "its training patients were not compared with the test patients",
    "declared": "it was trained on patients that the split declares as shared",
    "allowed": "TRAINED ON TEST PATIENTS, accepted by the user",
}


def _by(entries: Iterable[dict], key: Callable[[dict], Any]) -> list[tuple[Any, str]]:
    """Each value of `key` with the tasks that have it; falsy values are left out."""
    tasks: dict[Any, dict[str, None]] = {}
    for entry in entries:
        if value := key(entry):
            tasks.setdefault(value, {})[entry["task"]] = None
    return [(value, ", ".join(names)) for value, names in tasks.items()]


def _audit_key(entry: dict[str, Any]) -> tuple | None:
    record = entry["audit"]
    status = record.get("status", "not audited")
    if status == "clean":
        return None
    overlap = [*record.get("patients", ()), *record.get("slides", ())]
    overlap = overlap or list(record.get("barcodes", ()))
    named = ", ".join(overlap[:5]) + (", ..." if len(overlap) > 5 else "")
    return entry["model"], AUDIT.get(status, status), f" ({named})" if named else ""


def _pretrained_key(entry: dict[str, Any]) -> tuple | None:
    cohorts = entry["audit"].get("pretrained_on")
    return (entry["model"], ", ".join(cohorts)) if cohorts else None


def _selected_key(entry: dict[str, Any]) -> tuple | None:
    count = entry["audit"].get("selected_on")
    return (entry["model"], count) if count else None


def _events_key(entry: dict[str, Any]) -> tuple[int, int, tuple[str, ...]] | None:
    """Events, patients, and the test folds without an event."""
    if entry["kind"] != "survival":
        return None
    rounds = entry["hyper"].get("rounds", {})
    empty = [name for name, one in rounds.items() if not one["fold_events"]["test"]]
    return entry["hyper"]["events"], entry["n"], tuple(empty)


def _small_folds(entry: dict[str, Any]) -> tuple[int, int, int] | None:
    """Folds, rows and patients of one, where a patient less changes its score much."""
    folds = len(entry["hyper"].get("rounds", ()))
    if entry["combine"] != "mean" or not 0 < folds < entry["n_patients"]:
        return None
    rows, patients = entry["n"] // folds, entry["n_patients"] // folds
    small = rows < FOLD_ROWS or patients < FOLD_PATIENTS
    return (folds, rows, patients) if small else None


def _rows_key(entry: dict[str, Any]) -> tuple[int, int, str]:
    """Rows, patients, and what the units are where there is one patient."""
    units = "rows"
    if blocks := entry.get("n_blocks"):
        side = entry["declared"].get("blocks_um")
        units = (
            f"{blocks} blocks of {side / 1000:g} x {side / 1000:g} mm (neighbouring rows "
            "are alike: intervals over rows, named so, are too short)"
        )
    return entry["n"], entry["n_patients"], units


def _unscored_genes(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Genes that are not in a mean of correlations, and why."""
    notes = []
    for count, tasks in _by(entries, lambda e: e["hyper"].get("constant_genes", 0)):
        notes.append(
            f"Genes constant over the test rows, not in the mean: {count}: {tasks}."
        )
    few = "measured_in_few_test_rows"
    for names, tasks in _by(entries, lambda e: tuple(e["hyper"].get(few, ()))):
        named = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        notes.append(
            f"Genes measured in too few test rows, not in the mean: {len(names)} "
            f"({named}): {tasks}."
        )
    return notes


def notes_of(
    entries: Sequence[dict[str, Any]],
    columns: Sequence[Column],
    rows: Sequence[Row],
    permutations: int,
    unscored: Sequence[dict[str, Any]] = (),
) -> list[str]:
    """Notes on evaluated entries, the most serious first."""
    notes = []
    # Further metrics are of the same rows and fits.
    each_metric, every_column = entries, columns
    entries = [entry for entry in entries if "of" not in entry]
    columns = [column for column in columns if not column.of]
    synthetic = sorted({entry["study"] for entry in entries if entry["synthetic"]})
    if synthetic:
        notes.append(
            f"SYNTHETIC data ({', '.join(synthetic)}): nothing here is about patients."
        )
    failed: dict[tuple[str, str], dict[str, None]] = {}
    for entry in unscored:
        reason = entry["reason"].removeprefix(f"task {entry['task']}: ")
        failed.setdefault((entry["task"], reason), {})[entry["model"]] = None
    for (task, reason), models in failed.items():
        notes.append(f"NOT SCORED: {task} ({', '.join(models)}): {reason}.")
    for shared, tasks in _by(entries, lambda e: tuple(e["shared_patients"])):
        notes.append(
            f"Patients {', '.join(shared)} are in both fit and test, as the split "
            f"declares (sections held apart): {tasks}."
        )
    for (model, finding, named), tasks in _by(entries, _audit_key):
        notes.append(f"{model}: {finding}{named}: {tasks}.")
    for (model, count), tasks in _by(entries, _selected_key):
        notes.append(
            f"{model}: chosen by a validation on {count} of the test patients: {tasks}."
        )
    for (model, cohorts), tasks in _by(entries, _pretrained_key):
        notes.append(
            f"{model}: its foundation model was pre-trained, without labels, on "
            f"{cohorts}, which includes test patients of: {tasks}."
        )
    optimistic = [column.task for column in columns if column.optimistic]
    if optimistic:
        notes.append(
            f"{OPTIMISTIC}: the epoch was chosen on the scored rows themselves, so these "
            "scores are too high (above chance even for labels that are noise): "
            f"{', '.join(optimistic)}."
        )
    for (n, patients, units), tasks in _by(entries, _rows_key):
        single = "" if patients > 1 else (
            f"; intervals and tests are over {units} of this one patient, which says "
            "nothing about other patients"
        )  # fmt: skip
        notes.append(f"Test rows {n}, patients {patients}{single}: {tasks}.")
    for sentence, tasks in _by(entries, lambda e: "; ".join(rows_left_out(e))):
        notes.append(f"Left out: {sentence}: {tasks}.")
    for (events, n, empty), tasks in _by(entries, _events_key):
        none = (
            f"; none in test fold {', '.join(empty)}, which adds no pair"
            if empty
            else ""
        )
        notes.append(
            f"Survival of {n} patients, {events} with the event{none}; patients are paired "
            f"within test folds: {tasks}."
        )
    for (folds, each, patients), tasks in _by(entries, _small_folds):
        notes.append(
            f"A mean over {folds} folds of about {each} test rows of {patients} patients: "
            "with so few the intervals are too wide (covered 97 to 99.5 % in simulations): "
            f"{tasks}."
        )
    for (name, metric), tasks in _by(
        [entry | {"task": entry.get("of", entry["task"])} for entry in each_metric],
        lambda e: (e["protocol"], e["metric"]),
    ):
        notes.append(f"Protocol {name}, {metric}: {tasks}.")
    expression = [entry for entry in entries if entry["kind"] == "expression"]
    notes += _unscored_genes(expression)
    seeds = ", ".join(f"{row.name} {row.seeds}" for row in rows)
    notes.append(
        f"Seeds: {seeds}. A value is the mean over seeds. In brackets: 95 % intervals "
        "over test patients (jackknife, t) and seeds; those of deltas are paired."
    )
    tests = _test_notes(every_column, rows, permutations)
    return [*notes, *_limits(columns, rows), *tests]


def _independent(column: Column) -> tuple[str, int]:
    """What intervals and tests of a column are over, and how many it has."""
    if (column.n_patients or 0) != 1:
        return "patients", column.n_patients or 0
    return ("blocks", column.n_blocks) if column.n_blocks else ("rows", column.n or 0)


def _limits(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Where intervals and tests were not as stated in simulations."""
    notes = []
    few: dict[str, list[str]] = {}
    for column in columns:
        name, count = _independent(column)
        if 0 < count < ENOUGH_PATIENTS:
            few.setdefault(name, []).append(column.task)
    for name, tasks in few.items():
        notes.append(
            f"Fewer than {ENOUGH_PATIENTS} test {name}: of seven, intervals covered 79 "
            "to 100 % in simulations instead of 95, and up to 7 % of tables had a * where "
            f"nothing changed: {', '.join(tasks)}."
        )
    near = [c.task for c in columns if c.metric.startswith("robustness_index")]
    if near:
        notes.append(
            "Intervals of a robustness index are too wide: they covered 98 to 99.7 % in "
            f"simulations instead of 95: {', '.join(near)}."
        )
    tuned_seeds = {row.seeds for row in rows if row.base is not None}
    if 1 in tuned_seeds:
        notes.append(
            "With one seed neither intervals nor tests cover the variation of "
            "fine-tuning."
        )
    if 2 in tuned_seeds:
        notes.append(
            "Two seeds say little about the variation of fine-tuning: where it is large, "
            "intervals cover less than 95 %."
        )
    return notes


def _test_notes(
    columns: Sequence[Column], rows: Sequence[Row], permutations: int
) -> list[str]:
    if all(delta.p is None for row in rows for delta in row.deltas.values()):
        return []
    further = {column.task for column in columns if column.of}
    star = (
        f"*: p < {LEVEL} in a two-sided paired permutation test, which changes the sign of "
        "what a patient adds to the delta, in all tasks and seeds alike "
        f"({permutations} permutations, or every pattern where there are fewer) and adds "
        "the error over several seeds, after Holm's correction over a model's tasks; the "
        "mean delta is a single test, not corrected. In bold: *, and "
        f"the interval excludes 0. {INTERVAL_ONLY}: only the interval does, which is not "
        "corrected: a table of several tasks often has one where nothing changed."
    )
    notes = [star, *_impossible_stars(rows, further)]
    if further:
        notes.append(
            "Several metrics of one fit stand beside each other: a task's first is in the "
            "mean delta and is corrected over first metrics, further ones over all columns."
        )
    if any(delta.q is not None for row in rows for delta in row.deltas.values()):
        notes.append(
            "q: p after Benjamini and Hochberg's correction over the same columns: of the "
            f"deltas with q < {LEVEL} about {LEVEL:.0%} at most are expected to be chance, "
            "where Holm's * bounds the probability of a single one."
        )
    return notes


def _least_p(delta: Estimate) -> float:
    """The least p that its number of patterns allows.

    Of exact tests, whose patterns are a power of two, the observed pattern and its
    opposite are two.
    """
    patterns = delta.permutations or 1
    exact = patterns & (patterns - 1) == 0
    return 2 / patterns if exact else 1 / (1 + patterns)


def _impossible_stars(rows: Sequence[Row], further: Collection[str]) -> list[str]:
    """Tasks that cannot earn a *, however large their delta."""
    never: dict[str, None] = {}
    several: dict[tuple[int, float], dict[str, None]] = {}
    for row in rows:
        least = {t: _least_p(d) for t, d in row.deltas.items() if d.p is not None}
        for task, best in corrected(least, further).items():
            if least[task] >= LEVEL:
                never[task] = None
            elif best >= LEVEL:
                beside = len(least) if task in further else len(least.keys() - further)
                several.setdefault((beside, best), {})[task] = None
    notes = []
    if never:
        names = ", ".join(never)
        notes.append(f"Too few test patients for any p to be below {LEVEL}: {names}.")
    for (count, best), tasks in several.items():
        notes.append(
            f"Too few test patients for a * among {count} tasks, where the least "
            f"corrected p is {best:.2g}: {', '.join(tasks)}."
        )
    return notes


def mean_notes(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Notes on mean deltas that do not cover every column, or that mix units."""
    averaged = [column.task for column in columns if column.averaged]
    notes = []
    for row in rows:
        lacking = [task for task in averaged if task not in row.deltas]
        if row.deltas and lacking:
            notes.append(
                f"{row.name}: mean delta over {len(averaged) - len(lacking)} of "
                f"{len(averaged)} tasks (none for {', '.join(lacking)})."
            )
    robustness = [column.task for column in columns if column.kind == "robustness"]
    if robustness and averaged:
        notes.append(f"Robustness, not in the mean delta: {', '.join(robustness)}.")
    further = [column.task for column in columns if column.of]
    if further and averaged:
        notes.append(f"Further metrics, not in the mean delta: {', '.join(further)}.")
    errors = [column.task for column in columns if column.sign < 0]
    if errors:
        notes.append(
            "Errors, in their own unit, lower is better; not in the mean delta. The plot "
            f"of deltas shows 100 times the error: {', '.join(errors)}."
        )
    return notes


def shown_notes(table: Table) -> list[str]:
    """The table's notes and the legend of marks that the rendered table uses."""
    tuned = [row for row in table.rows if row.base is not None]
    own = any(task not in row.deltas for row in tuned for task in row.values)
    return [*table.notes, *([OWN_VALUE] if own else [])]
