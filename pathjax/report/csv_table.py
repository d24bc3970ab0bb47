"""The table as CSV, in and out: one line per model and task, numbers in percent.

Columns: model, base, task, and value or delta; metric, low, high, n, n_patients, seeds,
p, p_holm and permutations where they are known. A model with a base has a delta (or a
value, from which the delta follows); low, high and the three of the test are then the
delta's. A p is no percentage. The line whose task is "mean delta"
holds the mean, which is computed where no such line is given. Lines starting with `#`
are notes.
"""

import csv
import io
import math
from pathlib import Path

from pathjax.files import write_text
from pathjax.report.table_data import (
    MEAN,
    Column,
    Estimate,
    ReportError,
    Row,
    Table,
    check_bases,
    in_order,
    mean_notes,
    plain_mean,
)

ALONE = "Made from numbers alone: there are no intervals."
REQUIRED = ("model", "base", "task", "value", "delta")
FIELDS = (
    "model",
    "base",
    "task",
    "metric",
    "value",
    "delta",
    "low",
    "high",
    "n",
    "n_patients",
    "seeds",
    "p",
    "p_holm",
    "permutations",
)
TEST = ("p", "p_holm", "permutations")


def _number(line: dict, key: str, place: str, problems: list[str]) -> float | None:
    text = (line.get(key) or "").strip()
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        problems.append(f"{place}: {key} is {text!r}, wanted a number")
        return None
    return number


def _percent(number: float | None) -> float | None:
    return None if number is None else number / 100


def read_csv(path: str | Path) -> Table:
    """Reads a table.

    Raises:
      ReportError: columns are missing or lines cannot be read (all of them listed).
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    notes = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    kept = "\n".join(line for line in lines if not line.startswith("#"))
    reader = csv.DictReader(io.StringIO(kept))
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise ReportError(
            f"{path} lacks the columns {', '.join(missing)}; wanted "
            f"{', '.join(REQUIRED)}"
        )
    problems: list[str] = []
    bases: dict[str, str | None] = {}
    columns: dict[str, Column] = {}
    cells: dict[tuple[str, str], dict] = {}
    for line in reader:
        place = f"line {reader.line_num}"
        model, task = (line["model"] or "").strip(), (line["task"] or "").strip()
        base = (line["base"] or "").strip() or None
        if not model or not task:
            problems.append(f"{place}: model and task are wanted")
            continue
        if bases.setdefault(model, base) != base:
            problems.append(f"{place}: {model} has base {base}, before {bases[model]}")
        if (model, task) in cells:
            problems.append(f"{place}: {model}, {task} occurs twice")
        keys = ("value", "delta", "low", "high", "n", "n_patients", "seeds", *TEST)
        cell = {key: _number(line, key, place, problems) for key in keys}
        if cell["value"] is None and cell["delta"] is None:
            problems.append(f"{place}: neither value nor delta")
        if base is None and cell["delta"] is not None:
            problems.append(f"{place}: {model} has a delta but no base")
        if (cell["low"] is None) != (cell["high"] is None):
            problems.append(f"{place}: low and high go together")
        if base is None and cell["p"] is not None:
            problems.append(f"{place}: {model} has a p but no base")
        for key in ("p", "p_holm"):
            if cell[key] is not None and not 0 <= cell[key] <= 1:
                problems.append(f"{place}: {key} is {cell[key]}, wanted 0 to 1")
        cells[model, task] = cell
        if task != MEAN and task not in columns:
            n, patients = cell["n"], cell["n_patients"]
            columns[task] = Column(
                task,
                (line.get("metric") or "").strip(),
                None,
                None if n is None else int(n),
                None if patients is None else int(patients),
            )
    if not cells:
        problems.append("no line")
    if problems:
        raise ReportError(f"{path}: {'; '.join(problems)}")
    check_bases(bases)
    rows = tuple(_row(model, bases, columns, cells) for model in in_order(bases))
    ordered = tuple(columns.values())
    added = [note for note in mean_notes(ordered, rows) if note not in notes]
    if all(cell["low"] is None for cell in cells.values()) and ALONE not in notes:
        added.append(ALONE)
    return Table(ordered, rows, (*added, *notes))


def _row(model: str, bases, columns, cells) -> Row:
    base = bases[model]
    values, deltas, seeds = {}, {}, 0
    for task in columns:
        cell = cells.get((model, task))
        if cell is None:
            continue
        seeds = int(cell["seeds"] or 0)
        bounds = _percent(cell["low"]), _percent(cell["high"])
        if cell["value"] is not None:
            own = bounds if base is None else (None, None)
            values[task] = Estimate(cell["value"] / 100, *own)
        if base is None:
            continue
        delta = cell["delta"]
        before = cells.get((base, task), {}).get("value")
        if delta is None and before is not None:
            delta = cell["value"] - before
        if delta is not None:
            deltas[task] = Estimate(delta / 100, *bounds, *_test(cell))
    mean = plain_mean(deltas)
    given = cells.get((model, MEAN))
    if given is not None and mean is not None:
        bounds = _percent(given["low"]), _percent(given["high"])
        mean = Estimate(given["delta"] / 100, *bounds, *_test(given))
    return Row(model, base, model in bases.values(), values, deltas, mean, seeds)


def _test(cell) -> tuple[float | None, float | None, int | None]:
    made = cell["permutations"]
    return cell["p"], cell["p_holm"], None if made is None else int(made)


def _digits(number: float | None, scale: float = 100) -> str:
    # Ten significant digits: what is read back is what was written.
    return "" if number is None else f"{number * scale:.10g}"


def _line(row: Row, task: str, metric: str, value, delta, n="", patients="") -> list:
    shown = delta if row.base is not None else value
    return [
        row.name,
        row.base or "",
        task,
        metric,
        _digits(value.value if value else None),
        _digits(delta.value if delta else None),
        _digits(shown.low if shown else None),
        _digits(shown.high if shown else None),
        n,
        patients,
        row.seeds or "",
        _digits(delta.p if delta else None, 1),
        _digits(delta.p_holm if delta else None, 1),
        (delta.permutations if delta else None) or "",
    ]


def render_csv(table: Table) -> str:
    """The table as CSV text, notes first."""
    out = io.StringIO()
    for note in table.notes:
        out.write(f"# {' '.join(note.split())}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in table.rows:
        for column in table.columns:
            value, delta = row.values.get(column.task), row.deltas.get(column.task)
            if value or delta:
                sizes = column.n or "", column.n_patients or ""
                cells = _line(row, column.task, column.metric, value, delta, *sizes)
                writer.writerow(cells)
        if row.mean:
            writer.writerow(_line(row, MEAN, "", None, row.mean))
    return out.getvalue()


def write_csv(table: Table, path: str | Path) -> None:
    """Writes the table as CSV, atomically."""
    write_text(Path(path), render_csv(table))
