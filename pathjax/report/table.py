"""Table 1: values of the bases, deltas of the tuned models, in percent.

    run folders or a CSV -> load_table -> Table -> Markdown, CSV, JSON, PNG, terminal

A delta in bold has a 95 % interval that excludes 0; one with a * has a p below 0.05 after
Holm's correction. What a table is made of stands in
compare.py; here it is only laid out.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from pathjax.files import atomic_path, write_json, write_text
from pathjax.report import figures
from pathjax.report.compare import Scored, compare, gene_correlations, load_runs
from pathjax.report.csv_table import read_csv, write_csv
from pathjax.report.json_table import table_json
from pathjax.report.table_data import MEAN, Estimate, ReportError, Row, Table
from pathjax.stats.metrics import metric_label


def load_table(
    sources: Sequence[str | Path], *, replicates: int = 5000, title: str = ""
) -> Table:
    """The table of run folders, or of one CSV.

    Raises:
      ReportError: a CSV together with something else, or results do not fit together.
    """
    return _load(sources, replicates, title)[0]


def _load(sources, replicates, title) -> tuple[Table, list[Scored]]:
    paths = [Path(one) for one in sources]
    if not paths:
        raise ReportError("no run folder or CSV was named")
    tables = [path for path in paths if path.suffix.lower() == ".csv"]
    if tables and len(paths) > 1:
        raise ReportError(
            f"{tables[0]} is a finished table and cannot be joined with others: name "
            "it alone, or name run folders only"
        )
    if tables:
        return read_csv(tables[0]), []
    scored = load_runs(paths)
    return compare(scored, replicates=replicates, title=title), scored


def percent(number: float, *, signed: bool = False) -> str:
    """One decimal, in percent; a delta has its sign, and nothing is -0.0."""
    text = f"{number * 100:+.1f}" if signed else f"{number * 100:.1f}"
    return text.replace("-0.0", "0.0").replace("+0.0", "0.0")


def _interval(estimate: Estimate, signed: bool) -> str:
    if estimate.low is None:
        return ""
    low, high = (
        percent(estimate.low, signed=signed),
        percent(estimate.high, signed=signed),
    )
    return f"[{low}, {high}]"


def _cell(row: Row, task: str) -> tuple[str, str, Estimate | None, bool]:
    """(number, interval, estimate, is it a delta) of a row in a column."""
    delta = row.mean if task == MEAN else row.deltas.get(task)
    value = None if task == MEAN else row.values.get(task)
    # A tuned model without a base's value to compare with shows its value, marked.
    if delta is not None:
        return percent(delta.value, signed=True), _interval(delta, True), delta, True
    if value is not None:
        mark = "" if row.base is None else "="
        return mark + percent(value.value), _interval(value, False), value, False
    return "", "", None, False


def _star(estimate: Estimate | None, is_delta: bool) -> str:
    return "*" if is_delta and estimate.significant else ""


def _label(row: Row) -> str:
    return f"{row.name} (delta)" if row.base is not None else f"{row.name} (%)"


def _notes(table: Table) -> list[str]:
    notes = list(table.notes)
    if any(
        task not in row.deltas
        for row in table.rows
        if row.base is not None
        for task in row.values
    ):
        notes.append("=: the tuned model's value in percent; its base has none.")
    return notes


def _tasks(table: Table) -> list[str]:
    return [column.task for column in table.columns] + [MEAN]


def _headings(table: Table) -> list[tuple[str, str]]:
    """(task, what is measured) of each column."""
    pairs = []
    for column in table.columns:
        below = metric_label(column.metric)
        if column.chance is not None:
            below += f", chance {percent(column.chance)}"
        pairs.append((column.task, below))
    return [*pairs, (MEAN, "")]


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
        for task in _tasks(table):
            number, interval, estimate, is_delta = _cell(row, task)
            if is_delta and estimate.excludes_zero:
                number = f"**{number}**"
            number += _escape_markdown(_star(estimate, is_delta))
            cells.append(f"{number} {interval}".strip())
        lines.append("| " + " | ".join(cells) + " |")
    notes = [f"- {_escape_markdown(note)}" for note in _notes(table)]
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def print_table(table: Table, console=None) -> None:
    """Prints the table to a terminal through rich."""
    import rich.console
    import rich.table
    from rich.text import Text

    def _text(part) -> Text:
        if isinstance(part, str):
            return Text(part)
        top, below, *more = part  # a heading, or a cell with its estimate
        bold = bool(more) and more[1] and more[0].excludes_zero
        top += _star(*more) if more else ""
        return Text(f"{top}\n{below}".strip(), style="bold" if bold else "")

    console = console or rich.console.Console()
    shown = rich.table.Table(title=Text(table.title) if table.title else None)
    lines = [("model", *_headings(table))]
    for row in table.rows:
        lines.append((_label(row), *(_cell(row, task) for task in _tasks(table))))
    # Wide tables are turned on their side rather than cut: a task is then a line.
    if 24 + 16 * len(table.columns) > console.width:
        lines = list(zip(*lines, strict=True))
    # Headings wrap at words, numbers never: a table that is still too wide runs over
    # the edge of the terminal instead of losing digits.
    needed = 1
    for place, head in enumerate(lines[0]):
        texts = [_text(line[place]).plain for line in lines[1:]]
        parts = [part for text in texts for part in text.splitlines()]
        parts += _text(head).plain.split() if place else []
        width = max(map(len, parts), default=0)
        needed += width + 3
        justify = "right" if place else "left"
        shown.add_column(_text(head), justify=justify, width=width)
    for line in lines[1:]:
        shown.add_row(*map(_text, line))
    if needed <= console.width:
        console.print(shown)
    else:
        wide = rich.console.Console(width=needed, record=True, file=io.StringIO())
        wide.print(shown)
        whole = Text.from_ansi(wide.export_text(styles=True))
        console.print(whole, soft_wrap=True)
    for note in _notes(table):
        console.print(Text(f"- {note}"))


def draw_table(table: Table, path: str | Path) -> None:
    """Draws the table as PNG. Colour repeats what bold and the sign say."""
    headings, tasks = _headings(table), _tasks(table)
    first, width, height = 2.6, 1.25, 0.52
    wide = first + width * len(tasks)
    notes = figures.wrapped(_notes(table), wide)
    tall = 0.9 + height * len(table.rows) + 0.17 * len(notes) + 0.25
    top = 0.35 if table.title else 0.0
    figure = Figure(figsize=(wide, tall + top), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, wide), ylim=(tall + top, 0))
    axes.axis("off")
    if table.title:
        axes.text(0.1, 0.3, figures.plain(table.title), fontsize=11, weight="bold")
    for place, (task, below) in enumerate(headings):
        x = first + width * (place + 0.5)
        head = figures.folded(task, 14)
        axes.text(x, top + 0.35, head, ha="center", va="center", fontsize=9)
        below = figures.folded(below, 20)
        axes.text(x, top + 0.7, below, ha="center", va="center", fontsize=6)
    for line, row in enumerate(table.rows):
        y = top + 0.9 + height * line
        if row.base is None:
            axes.axhline(y, color="black", linewidth=0.8)
        label = figures.folded(_label(row), 30)
        weight = "bold" if row.base is None else "normal"
        axes.text(0.1, y + height / 2, label, va="center", fontsize=9, weight=weight)
        for place, task in enumerate(tasks):
            number, interval, estimate, is_delta = _cell(row, task)
            flagged = is_delta and estimate.excludes_zero
            x = first + width * place
            if flagged:
                better = estimate.value > 0
                colour = figures.BETTER if better else figures.WORSE
                axes.fill_between(
                    [x + 0.04, x + width - 0.04],
                    y + 0.04,
                    y + height - 0.04,
                    color=colour,
                    alpha=0.22,
                    linewidth=0,
                )
            middle = y + height * (0.36 if interval else 0.5)
            text = {"ha": "center", "va": "center"}
            weight = "bold" if flagged else "normal"
            number += _star(estimate, is_delta)
            axes.text(x + width / 2, middle, number, fontsize=10, weight=weight, **text)
            axes.text(x + width / 2, y + height * 0.76, interval, fontsize=6.5, **text)
    bottom = top + 0.9 + height * len(table.rows)
    axes.axhline(bottom, color="black", linewidth=0.8)
    for line, note in enumerate(notes):
        axes.text(0.1, bottom + 0.17 * (line + 1.2), note, fontsize=7)
    with atomic_path(Path(path)) as partial:
        figure.savefig(partial)


def write_report(
    run_dirs: Sequence[str | Path],
    out: str | Path,
    *,
    replicates: int = 5000,
    title: str = "",
) -> tuple[Table, dict[str, Path]]:
    """Writes the table and the figures of run folders (or of one CSV) to `out`.

    Returns:
      The table; and what was written: "markdown", "csv", "json", "png", "deltas", and
      where there is something to show "genes:TASK" and "learning".

    Raises:
      ReportError: results do not fit into one table.
      ResultsError: a run folder cannot be read.
    """
    table, scored = _load(run_dirs, replicates, title)
    out = Path(out)
    paths = {
        "markdown": out / "table.md",
        "csv": out / "table.csv",
        "json": out / "table.json",
        "png": out / "table.png",
    }
    write_text(paths["markdown"], render_markdown(table))
    write_csv(table, paths["csv"])
    write_json(paths["json"], table_json(table))
    draw_table(table, paths["png"])
    if any(row.deltas for row in table.rows):
        paths["deltas"] = out / "deltas.png"
        figures.draw_deltas(table, paths["deltas"])
    bases = {row.name: row.base for row in table.rows}
    for task, models in gene_correlations(scored).items():
        tuned = {m: bases[m] for m in models if bases[m] in models}
        if tuned:
            path = out / f"genes-{figures.slug(task)}.png"
            figures.draw_genes(task, models, tuned, path)
            paths[f"genes:{task}"] = path
    curves = figures.find_metrics(run_dirs)
    if curves:
        paths["learning"] = out / "learning.png"
        figures.draw_learning(curves, paths["learning"])
    return table, paths
