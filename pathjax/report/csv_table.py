"""The table as CSV, in and out: one line per model and task, numbers in percent.

Columns: model, base, task, and value or delta; the other `FIELDS` where known. For a
model with a base, low, high, p, p_holm and permutations describe the delta, which
follows from the values where it is not given; p is no percentage. The line whose task
is "mean delta" holds the mean, computed when absent. A table with errors has a column
`unit`, "percent" or "score"; scores are not multiplied by 100, and lower is better.
One with intervals over blocks has `n_blocks`, and the intervals over rows; one with
several metrics of a task `of`, the task; one with q-values `q`.
Lines starting with `#` are notes.
"""

import itertools
import math
from pathlib import Path

from pathjax.data import tables
from pathjax.data.study import listing
from pathjax.files import write_csv
from pathjax.report.notes import FROM_NUMBERS, mean_notes
from pathjax.report.table_data import (
    MEAN,
    OPTIMISTIC,
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
FIELDS = ("model", "base", "task", "metric", *NUMBERS, "mark")
BLOCKS = ("n_blocks", "row_low", "row_high")
OPTIONAL = ("unit", "of", "q", *BLOCKS)
NUMBERS_OF_ROWS = ("n", "n_patients", "n_blocks")
COUNTS = ("n", "n_patients", "seeds", "permutations")
ROUNDED = 0.11  # numbers with one decimal may disagree by this
UNITS = {"": True, "percent": True, "score": False}  # whether numbers are percentages


def write_table(table: Table, path: str | Path) -> None:
    """Writes the table as CSV, atomically, notes first."""
    columns = {column.task: column for column in table.all_columns}
    has = {
        "unit": not all(column.percent for column in columns.values()),
        "of": any(column.of for column in columns.values()),
        "q": table.has_q,
        **dict.fromkeys(BLOCKS, any(column.n_blocks for column in columns.values())),
    }
    fields = *FIELDS, *(name for name in OPTIONAL if has[name])
    lines = []
    for cell in records(table):
        shown = "value" if cell["base"] is None else "delta"
        ends = ("low", "high", "row_low", "row_high")
        line = cell | {end: cell.get(f"{shown}_{end}") for end in ends}
        for key in ("value", "delta", *ends):
            line[key] = _digits(line[key], columns[cell["task"]].scale)
        line |= {key: cell[key] or "" for key in ("n", "n_patients", "seeds")}
        line |= {key: _digits(cell[key]) for key in ("p", "p_holm", "q")}
        line["of"] = cell["of"] or ""
        line["mark"] = cell["mark"] + OPTIMISTIC * cell["optimistic"]
        line["unit"] = "percent" if columns[cell["task"]].percent else "score"
        lines.append([line[field] for field in fields])
    write_csv(Path(path), fields, lines, table.notes)


def _digits(number: float | None, scale: float = 1) -> str:
    # Ten significant digits: what is read back is what was written.
    return "" if number is None else f"{number * scale:.10g}"


def read_table(path: str | Path) -> Table:
    """Reads a table.

    Raises:
      ReportError: Columns are missing or lines are invalid (all of them listed).
    """
    path = Path(path)
    try:
        # Words for missing values are those of numbers only: a model may be called "NA".
        frame = tables.read_table(path, (*NUMBERS, "q", *BLOCKS), comment="#")
        lines = tables.read_text(path).splitlines()
    except ValueError as error:
        raise ReportError(str(error)) from error
    notes = tuple(
        line[1:].strip()
        for line in itertools.takewhile(lambda line: line.startswith("#"), lines)
    )
    frame.columns = tables.known_columns(list(frame), (*FIELDS, *OPTIONAL))
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise ReportError(
            f"{path} lacks the columns {', '.join(missing)}; expected "
            f"{', '.join(REQUIRED)}"
        )
    problems: list[str] = []
    bases: dict[str, str | None] = {}
    columns: dict[str, Column] = {}
    cells: dict[tuple[str, str], dict] = {}
    firsts: dict[str, dict[str, str]] = {}
    for number, line in zip(frame.index, frame.to_dict("records"), strict=True):
        place = f"line {number}"
        text = {key: line.get(key, "") for key in (*FIELDS, *OPTIONAL)}
        model, task, base = text["model"], text["task"], text["base"] or None
        if not model or not task:
            problems.append(f"{place}: expected a model and a task")
            continue
        if bases.setdefault(model, base) != base:
            problems.append(f"{place}: {model} has base {base}, before {bases[model]}")
        if (model, task) in cells:
            problems.append(f"{place}: {model}, {task} occurs twice")
        cells[model, task] = cell = _cell(text, place, problems)
        first = firsts.setdefault(task, text)
        for key in ("metric", "unit", "of"):
            if text[key] and first[key] and text[key] != first[key]:
                problems.append(
                    f"{place}: {key} of {task} is {text[key]}, before {first[key]}"
                )
        if task != MEAN and task not in columns:
            n, patients, blocks = map(_whole, map(cell.get, NUMBERS_OF_ROWS))
            percent = UNITS.get(text["unit"], True)
            columns[task] = Column(
                *(task, text["metric"], None, n, patients),
                percent=percent,
                optimistic=OPTIMISTIC in text["mark"],
                n_blocks=blocks,
                of=text["of"],
            )
    if not cells:
        problems.append("no line")
    if problems:
        raise ReportError(f"{path}: {listing(problems)}")
    check_bases(bases)
    ordered = tuple(columns.values())
    rows = tuple(_row(model, bases, ordered, cells) for model in in_order(bases))
    added = mean_notes(ordered, rows)
    unread = [name for name in frame if name not in (*FIELDS, *OPTIONAL)]
    if unread:
        added.append(f"Columns that were not read: {', '.join(unread)}.")
    added += _disagreements(bases, cells)
    if all(cell["low"] is None for cell in cells.values()):
        added.append(FROM_NUMBERS)
    return Table(ordered, rows, (*(n for n in added if n not in notes), *notes))


def _disagreements(bases, cells) -> list[str]:
    """Notes on deltas that are not the difference of the values beside them.

    They may differ rightly: a base can have more seeds than the model tuned from it.
    """
    notes = []
    for (model, task), cell in cells.items():
        before = cells.get((bases[model], task), {}).get("value")
        if None in (cell["value"], cell["delta"], before):
            continue
        gap = cell["value"] - before
        if abs(cell["delta"] - gap) > ROUNDED:
            notes.append(
                f"{model}, {task}: the delta, {cell['delta']:g}, is not the difference of "
                f"the values, {gap:g}."
            )
    return notes


def _cell(text: dict[str, str], place: str, problems: list[str]) -> dict:
    """The numbers of one line, None where empty; appends what is wrong with them."""
    cell = _numbers(text, place, problems)
    if cell["value"] is None and cell["delta"] is None:
        problems.append(f"{place}: neither value nor delta")
    if text["task"] == MEAN and cell["delta"] is None:
        problems.append(f"{place}: {MEAN} has no delta")
    for key in ("delta", "p"):
        if not text["base"] and cell[key] is not None:
            problems.append(f"{place}: {text['model']} has a {key} but no base")
    shown = cell["delta" if text["base"] else "value"]
    for low, high in (("low", "high"), ("row_low", "row_high")):
        ends = cell[low], cell[high]
        if (ends[0] is None) != (ends[1] is None):
            problems.append(f"{place}: {low} and {high} go together")
        elif ends[0] is not None:
            inside = ends[0] if shown is None else shown
            if not ends[0] - ROUNDED <= inside <= ends[1] + ROUNDED:
                problems.append(
                    f"{place}: expected {low} <= {inside:g} <= {high}, got "
                    f"{ends[0]:g} and {ends[1]:g}"
                )
    if text["unit"] not in UNITS:
        problems.append(f"{place}: unit is {text['unit']!r}, expected percent or score")
    return cell


def _numbers(text: dict[str, str], place: str, problems: list[str]) -> dict:
    """As `_cell`, each number by itself."""
    cell: dict[str, float | None] = dict.fromkeys((*NUMBERS, "q", *BLOCKS))
    for key in cell:
        if text[key]:
            try:
                number = tables.number(text[key])
            except ValueError:
                number = math.nan
            if math.isfinite(number):
                cell[key] = number
            else:
                problems.append(f"{place}: {key} is {text[key]!r}, expected a number")
    for key in ("p", "p_holm", "q"):
        if cell[key] is not None and not 0 <= cell[key] <= 1:
            problems.append(f"{place}: {key} is {cell[key]}, expected 0 to 1")
    for key in COUNTS:
        count = cell[key]
        if count is not None and (count < 0 or count != int(count)):
            problems.append(f"{place}: {key} is {count:g}, expected a whole number")
    return cell


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _row(model: str, bases, columns, cells) -> Row:
    base = bases[model]
    values, deltas, seeds = {}, {}, 0
    for column in columns:
        task, scale = column.task, column.scale
        cell = cells.get((model, task))
        if cell is None:
            continue
        seeds = int(cell["seeds"] or 0)
        if cell["value"] is not None:
            bounds = _bounds(cell, scale) if base is None else {}
            values[task] = Estimate(cell["value"] / scale, **bounds)
        if base is None:
            continue
        delta, before = cell["delta"], cells.get((base, task), {}).get("value")
        if delta is None and before is not None:
            delta = cell["value"] - before
        if delta is not None:
            deltas[task] = _delta(delta, cell, scale)
    in_mean = [c.task for c in columns if c.averaged and c.task in deltas]
    mean = plain_mean([deltas[task] for task in in_mean])
    given = cells.get((model, MEAN))
    if given is not None and mean is not None:
        mean = _delta(given["delta"], given, 100)
    return Row(model, base, model in bases.values(), values, deltas, mean, seeds)


def _bounds(cell, scale: int) -> dict[str, float | None]:
    ends = ("low", "high", "row_low", "row_high")
    return {k: None if cell[k] is None else cell[k] / scale for k in ends}


def _delta(delta: float, cell, scale: int) -> Estimate:
    test = {key: cell[key] for key in ("p", "p_holm", "q")}
    test["permutations"] = _whole(cell["permutations"])
    return Estimate(delta / scale, **_bounds(cell, scale), **test)
