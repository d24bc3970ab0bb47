"""Table 1: values of the bases, deltas of the tuned models, in percent.

    run folders or a CSV -> load_table -> Table -> Markdown, CSV, JSON, PNG, terminal

A * has a p below 0.05 after Holm's correction; in bold, its 95 % interval also excludes 0.
A ° has only such an interval, which is not corrected. Tasks marked † had something chosen
on the scored rows. An error, where lower is better, is shown in its own unit. Where an
interval is over blocks of rows, Markdown has that over rows beside it. compare.py makes the table; this module lays it out.
"""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from pathjax.buckets import local
from pathjax.files import write_json, write_text
from pathjax.report import figures
from pathjax.report.compare import compare, gene_correlations, load_runs, load_unscored
from pathjax.report.controls import control_tables, permuted_notes, survival_notes
from pathjax.report.csv_table import read_table, write_table
from pathjax.report.frontier import draw_frontier
from pathjax.report.kaplan_meier import draw_halves, followed
from pathjax.report.notes import shown_notes
from pathjax.report.scores import Scored
from pathjax.report.style import BETTER, WORSE, folded, plain, save, slug, wrapped
from pathjax.report.table_data import Column, ReportError, Row, Table, mark, table_json
from pathjax.stats.metrics import metric_label


def load_table(
    sources: Sequence[str | Path], *, title: str = "", q_values: bool = False
) -> Table:
    """The table of run folders, or of one CSV; `q_values` as in `compare`.

    Raises:
      ReportError: A CSV together with something else, or results do not fit together.
    """
    return _load(sources, title, q_values)[0]


def _load(sources, title, q_values) -> tuple[Table, list[Scored], dict[str, Table]]:
    """The table, what it is of, and the tables of differences from controls."""
    paths = [local(source) for source in sources]
    if not paths:
        raise ReportError("no run folder or CSV was named")
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    if tables and len(paths) > 1:
        raise ReportError(
            f"{tables[0]} is a finished table and cannot be joined with others: name "
            "only that CSV, or only run folders"
        )
    if tables and q_values:
        raise ReportError(
            f"{tables[0]} is a finished table, with the q-values that it has: name run "
            "folders for --q-values"
        )
    if tables:
        return read_table(tables[0]), [], {}
    scored = load_runs(paths)
    failed = load_unscored(paths)
    table = compare(scored, unscored=failed, title=title, q_values=q_values)
    controls = control_tables(scored, table)
    notes = [note for part in controls.values() for note in survival_notes(part)]
    notes += permuted_notes(scored, {row.name: row for row in table.rows})
    return dataclasses.replace(table, notes=(*notes, *table.notes)), scored, controls


def percent(number: float, *, signed: bool = False) -> str:
    """One decimal, in percent; a delta has its sign, and nothing is -0.0."""
    return _decimal(100 * number, 1, signed)


def _decimal(number: float, places: int, signed: bool) -> str:
    text = f"{number:+.{places}f}" if signed else f"{number:.{places}f}"
    return text if float(text) else text.lstrip("+-")


def _number(column: Column, number: float, signed: bool) -> str:
    if column.percent:
        return percent(number, signed=signed)
    return _decimal(number, 3, signed)


class Cell(NamedTuple):
    """The text of a cell; `bold` and `mark` as in the module's docstring."""

    number: str = ""
    interval: str = ""
    bold: bool = False
    mark: str = ""
    over_rows: str = ""
    q: str = ""


def _cell(row: Row, column: Column) -> Cell:
    delta, value = row.delta(column.task), row.values.get(column.task)
    estimate = delta or value
    if estimate is None:
        return Cell()
    signed = delta is not None
    interval = _ends(column, estimate.low, estimate.high, signed)
    over_rows = _ends(column, estimate.row_low, estimate.row_high, signed)
    # A tuned model without a base's value to compare with shows its value, marked.
    own = "=" if not signed and row.base is not None else ""
    number = own + _number(column, estimate.value, signed)
    bold = signed and estimate.certain
    q = "" if delta is None or delta.q is None else f"q {delta.q:.2g}"
    return Cell(number, interval, bold, mark(delta), over_rows, q)


def _ends(column: Column, low: float | None, high: float | None, signed: bool) -> str:
    if low is None or high is None:
        return ""
    return f"[{_number(column, low, signed)}, {_number(column, high, signed)}]"


def _cells(row: Row, table: Table) -> list[Cell]:
    return [_cell(row, column) for column in table.all_columns]


def _label(row: Row) -> str:
    return f"{row.name} (delta)" if row.base is not None else f"{row.name} (%)"


def _headings(table: Table) -> list[tuple[str, str]]:
    """(task, what is measured) of each column."""
    pairs = []
    for column in table.all_columns:
        below = metric_label(column.metric) if column.metric else ""
        if column.chance is not None:
            below += f", chance {_number(column, column.chance, False)}"
        named = dataclasses.replace(column, task=column.of or column.task)
        pairs.append((named.title, below))
    return pairs


def _escape_markdown(text: str) -> str:
    for sign in "\\|*_`<>[]":
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())


def render_markdown(table: Table) -> str:
    """The table in Markdown, with its notes below."""
    lines = [f"# {_escape_markdown(table.title)}", ""] if table.title else []
    heads = [
        _escape_markdown(task) + (f" ({_escape_markdown(below)})" if below else "")
        for task, below in _headings(table)
    ]
    lines.append("| model | " + " | ".join(heads) + " |")
    lines.append("|---" * (len(heads) + 1) + "|")
    for row in table.rows:
        cells = [_escape_markdown(_label(row))]
        for cell in _cells(row, table):
            number = f"**{cell.number}**" if cell.bold else cell.number
            number += _escape_markdown(cell.mark)
            rows = f"; rows {cell.over_rows}" if cell.over_rows else ""
            q = f"; {cell.q}" if cell.q else ""
            cells.append(f"{number} {cell.interval}{rows}{q}".strip())
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- {_escape_markdown(note)}" for note in shown_notes(table)]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def print_table(table: Table, console=None) -> None:
    """Prints the table to a terminal through rich."""
    import rich.console
    import rich.table
    from rich.text import Text

    def text(cell: Cell) -> Text:
        lines = f"{cell.number}{cell.mark}\n{cell.interval}\n{cell.q}".strip()
        return Text(lines, style="bold" if cell.bold else "")

    console = console or rich.console.Console()
    shown = rich.table.Table(title=Text(table.title) if table.title else None)
    lines = [[Text("model"), *(text(Cell(*head)) for head in _headings(table))]]
    for row in table.rows:
        lines.append([Text(_label(row)), *map(text, _cells(row, table))])
    # Wide tables are transposed rather than cut: a task is then a line.
    if 24 + 16 * len(table.columns) > console.width:
        lines = [list(line) for line in zip(*lines, strict=True)]
    # Headings wrap at words, numbers never: a table that is still too wide runs over
    # the edge of the terminal instead of losing digits.
    needed = 1
    for place, (head, *cells) in enumerate(zip(*lines, strict=True)):
        parts = [part for cell in cells for part in cell.plain.splitlines()]
        parts += head.plain.split() if place else []
        width = max(map(len, parts), default=0)
        needed += width + 3
        shown.add_column(head, justify="right" if place else "left", width=width)
    for line in lines[1:]:
        shown.add_row(*line)
    if needed <= console.width:
        console.print(shown)
    else:
        wide = rich.console.Console(width=needed, record=True, file=io.StringIO())
        wide.print(shown)
        whole = Text.from_ansi(wide.export_text(styles=True))
        console.print(whole, soft_wrap=True)
    for note in shown_notes(table):
        console.print(Text(f"- {note}"))


def draw_table(table: Table, path: str | Path) -> None:
    """Draws the table as PNG; a bold delta is coloured as better or worse.

    Where lower is better, a negative delta is better.
    """
    headings = _headings(table)
    first, width, height = 2.6, 1.25, 0.52
    wide = first + width * len(headings)
    notes = wrapped(shown_notes(table), wide)
    top = 0.35 if table.title else 0.0
    tall = top + 0.9 + height * len(table.rows) + 0.17 * len(notes) + 0.25
    figure = Figure(figsize=(wide, tall), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(tall, 0))
    axes.axis("off")
    centred = {"ha": "center", "va": "center"}
    if table.title:
        axes.text(0.1, 0.3, plain(table.title), fontsize=11, weight="bold")
    for place, (task, below) in enumerate(headings):
        x = first + width * (place + 0.5)
        axes.text(x, top + 0.35, folded(task, 14), fontsize=9, **centred)
        axes.text(x, top + 0.7, folded(below, 20), fontsize=6, **centred)
    for line, row in enumerate(table.rows):
        y = top + 0.9 + height * line
        if row.base is None:
            axes.axhline(y, color="black", linewidth=0.8)
        label = folded(_label(row), 30)
        weight = "bold" if row.base is None else "normal"
        axes.text(0.1, y + height / 2, label, va="center", fontsize=9, weight=weight)
        for place, column in enumerate(table.all_columns):
            cell, x = _cell(row, column), first + width * place
            if cell.bold:
                gain = column.sign * row.delta(column.task).value
                axes.fill_between(
                    [x + 0.04, x + width - 0.04],
                    y + 0.04,
                    y + height - 0.04,
                    color=BETTER if gain > 0 else WORSE,
                    alpha=0.22,
                    linewidth=0,
                )
            x, middle = x + width / 2, y + height * (0.36 if cell.interval else 0.5)
            weight = "bold" if cell.bold else "normal"
            number = cell.number + cell.mark
            axes.text(x, middle, number, fontsize=10, weight=weight, **centred)
            axes.text(x, y + height * 0.76, cell.interval, fontsize=6.5, **centred)
    bottom = top + 0.9 + height * len(table.rows)
    axes.axhline(bottom, color="black", linewidth=0.8)
    for line, note in enumerate(notes):
        axes.text(0.1, bottom + 0.17 * (line + 1.2), note, fontsize=7)
    save(figure, path, tight=False)


def write_report(
    run_dirs: Sequence[str | Path],
    out: str | Path,
    *,
    title: str = "",
    q_values: bool = False,
) -> tuple[Table, dict[str, Path]]:
    """Writes the table and the figures of run folders (or of one CSV) to `out`.

    Args:
      run_dirs, out, title: As they say.
      q_values: See `compare`.

    Returns:
      The table; and what was written: "markdown", "csv", "json", "png", "deltas", and
      where there is something to show "control:MODEL", "frontier", "genes:TASK", "survival" and
      "learning".

    Raises:
      ReportError: Results do not fit into one table.
      EvalError: A run folder cannot be read.
    """
    table, scored, controls = _load(run_dirs, title, q_values)
    out = local(out)
    names = {"markdown": "md", "csv": "csv", "json": "json", "png": "png"}
    paths = {kind: out / f"table.{suffix}" for kind, suffix in names.items()}
    write_text(paths["markdown"], render_markdown(table))
    write_table(table, paths["csv"])
    write_json(paths["json"], table_json(table))
    draw_table(table, paths["png"])
    for name, part in controls.items():
        path = paths[f"control:{name}"] = out / f"control-{slug(name)}.md"
        write_text(path, render_markdown(part))
        write_table(part, path.with_suffix(".csv"))
        write_json(path.with_suffix(".json"), table_json(part))
    if any(row.deltas for row in table.rows):
        paths["deltas"] = out / "deltas.png"
        figures.draw_deltas(table, paths["deltas"])
    if draw_frontier(table, out / "frontier.png"):
        paths["frontier"] = out / "frontier.png"
    bases = {row.name: row.base for row in table.rows}
    for task, models in gene_correlations(scored).items():
        tuned = {m: bases[m] for m in models if bases[m] in models}
        if tuned:
            path = paths[f"genes:{task}"] = out / f"genes-{slug(task)}.png"
            figures.draw_genes(task, models, tuned, path)
    halves = {
        f"{item.entry['task']}: {item.entry['model']}": followed(
            *(item.rows[name] for name in ("truth", "prediction", "stratum"))
        )
        for item in scored
        if item.entry["kind"] == "survival" and item.rows and "of" not in item.entry
    }
    if halves:
        paths["survival"] = out / "survival.png"
        draw_halves(halves, paths["survival"], "halves by predicted risk, within folds")
    curves = figures.find_metrics(run_dirs)
    if curves:
        paths["learning"] = out / "learning.png"
        figures.draw_learning(curves, paths["learning"])
    return table, paths
