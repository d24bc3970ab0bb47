"""The table as CSV, in and out: one line per model and task, numbers in percent.

Columns: model, base, task, and value or delta; the other `FIELDS` where known. For a
model with a base, low, high, p, p_holm and permutations describe the delta, which
follows from the values where it is not given; p is no percentage. The line whose task
is "mean delta" holds the mean, computed when absent. Lines starting with `#` are notes.
"""

import csv
import io
import math
from pathlib import Path

from pathjax.files import write_csv
from pathjax.report.notes import FROM_NUMBERS, mean_notes
from pathjax.report.table_data import (
    MEAN,
    Column,
    Estimate,
    ReportError,
    Row,
    Table,
    check_bases,
    in_order,
    plain_mean,
    records,
)

REQUIRED = ("model", "base", "task", "value", "delta")
NUMBERS = ("value", "delta", "low", "high", "n", "n_patients", "seeds", "p", "p_holm",
           "permutations")  # fmt: skip
FIELDS = ("model", "base", "task", "metric", *NUMBERS)


def write_table(table: Table, path: str | Path) -> None:
    """Writes the table as CSV, atomically, notes first."""
    lines = []
    for cell in records(table):
        shown = "value" if cell["base"] is None else "delta"
        percent = (cell["value"], cell["delta"], cell[f"{shown}_low"],
                   cell[f"{shown}_high"])  # fmt: skip
        lines.append(
            [
                cell["model"],
                cell["base"],
                cell["task"],
                cell["metric"],
                *(_digits(number, 100) for number in percent),
                *(cell[key] or "" for key in ("n", "n_patients", "seeds")),
                *(_digits(cell[key]) for key in ("p", "p_holm")),
                cell["permutations"],
            ]
        )
    write_csv(Path(path), FIELDS, lines, table.notes)


def _digits(number: float | None, scale: float = 1) -> str:
    # Ten significant digits: what is read back is what was written.
    return "" if number is None else f"{number * scale:.10g}"


def read_table(path: str | Path) -> Table:
    """Reads a table.

    Raises:
      ReportError: Columns are missing or lines are invalid (all of them listed).
    """
    path = Path(path)
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    notes = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    kept = "\n".join(line for line in lines if not line.startswith("#"))
    reader = csv.DictReader(io.StringIO(kept))
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise ReportError(
            f"{path} lacks the columns {', '.join(missing)}; expected "
            f"{', '.join(REQUIRED)}"
        )
    problems: list[str] = []
    bases: dict[str, str | None] = {}
    columns: dict[str, Column] = {}
    cells: dict[tuple[str, str], dict] = {}
    for line in reader:
        place = f"line {reader.line_num}"
        text = {key: (line.get(key) or "").strip() for key in FIELDS}
        model, task, base = text["model"], text["task"], text["base"] or None
        if not model or not task:
            problems.append(f"{place}: expected a model and a task")
            continue
        if bases.setdefault(model, base) != base:
            problems.append(f"{place}: {model} has base {base}, before {bases[model]}")
        if (model, task) in cells:
            problems.append(f"{place}: {model}, {task} occurs twice")
        cells[model, task] = cell = _cell(text, place, problems)
        if task != MEAN and task not in columns:
            n, patients = (_whole(cell[key]) for key in ("n", "n_patients"))
            columns[task] = Column(task, text["metric"], None, n, patients)
    if not cells:
        problems.append("no line")
    if problems:
        raise ReportError(f"{path}: {'; '.join(problems)}")
    check_bases(bases)
    rows = tuple(_row(model, bases, columns, cells) for model in in_order(bases))
    ordered = tuple(columns.values())
    added = mean_notes(ordered, rows)
    if all(cell["low"] is None for cell in cells.values()):
        added.append(FROM_NUMBERS)
    added = [note for note in added if note not in notes]
    return Table(ordered, rows, (*added, *notes))


def _cell(text: dict[str, str], place: str, problems: list[str]) -> dict:
    """The numbers of one line, None where empty; appends what is wrong with them."""
    cell: dict[str, float | None] = {}
    for key in NUMBERS:
        cell[key] = None
        if text[key]:
            try:
                number = float(text[key])
            except ValueError:
                number = math.nan
            if math.isfinite(number):
                cell[key] = number
            else:
                problems.append(f"{place}: {key} is {text[key]!r}, expected a number")
    model, base = text["model"], text["base"]
    if cell["value"] is None and cell["delta"] is None:
        problems.append(f"{place}: neither value nor delta")
    for key in ("delta", "p"):
        if not base and cell[key] is not None:
            problems.append(f"{place}: {model} has a {key} but no base")
    if (cell["low"] is None) != (cell["high"] is None):
        problems.append(f"{place}: low and high go together")
    for key in ("p", "p_holm"):
        if cell[key] is not None and not 0 <= cell[key] <= 1:
            problems.append(f"{place}: {key} is {cell[key]}, expected 0 to 1")
    return cell


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _row(model: str, bases, columns, cells) -> Row:
    base = bases[model]
    values, deltas, seeds = {}, {}, 0
    for task in columns:
        cell = cells.get((model, task))
        if cell is None:
            continue
        seeds = int(cell["seeds"] or 0)
        if cell["value"] is not None:
            bounds = _bounds(cell) if base is None else ()
            values[task] = Estimate(cell["value"] / 100, *bounds)
        if base is None:
            continue
        delta, before = cell["delta"], cells.get((base, task), {}).get("value")
        if delta is None and before is not None:
            delta = cell["value"] - before
        if delta is not None:
            deltas[task] = _delta(delta, cell)
    signs = {task: column.sign for task, column in columns.items()}
    mean, given = plain_mean(deltas, signs), cells.get((model, MEAN))
    if given is not None and mean is not None:
        mean = _delta(given["delta"], given)
    return Row(model, base, model in bases.values(), values, deltas, mean, seeds)


def _bounds(cell) -> tuple[float | None, float | None]:
    return tuple(None if cell[k] is None else cell[k] / 100 for k in ("low", "high"))


def _delta(delta: float, cell) -> Estimate:
    test = cell["p"], cell["p_holm"], _whole(cell["permutations"])
    return Estimate(delta / 100, *_bounds(cell), *test)
