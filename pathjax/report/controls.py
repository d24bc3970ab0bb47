"""Which deltas are more than those of a control: the tuned model minus the control.

    Scored -> control_tables -> a table of each control, and a note of each tuned model

A control is tuned from the same base (shuffled pairs, more self-supervision), so delta
minus delta of the control is the tuned model minus the control: `compare` with the
control as base, its paired intervals and tests included. Rows with permuted labels have
no delta; a note says where their interval excludes chance. Nothing is read or drawn.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from pathjax.evals.candidates import PERMUTED, SHUFFLED
from pathjax.report.compare import compare
from pathjax.report.scores import Scored
from pathjax.report.table_data import Estimate, Row, Table


def control_tables(scored: Sequence[Scored], table: Table) -> dict[str, Table]:
    """Control -> the table of tuned models minus it, with notes on what survives.

    Args:
      scored: Of the run folders.
      table: Their own table, of which deltas are named beside the differences.
    """
    controls = {
        item.entry["model"]: item.entry["base"]
        for item in scored
        if item.entry.get("control") and item.entry["base"]
    }
    rows = {row.name: row for row in table.rows}
    found = {}
    for control, base in controls.items():
        tuned = [
            name
            for name, row in rows.items()
            if row.base == base and name not in controls and _is_of(control, name)
        ]
        if tuned:
            shared = {i.entry["task"] for i in scored if i.entry["model"] == base}
            part = [
                item
                for item in map(_rebased(control, tuned), scored)
                if item and item.entry["task"] in shared
            ]
            title = f"Tuned models minus the control {control}"
            made = compare(part, title=title, q_values=table.has_q)
            notes = [_survival(rows[name], rows[control], made) for name in tuned]
            found[control] = dataclasses.replace(made, notes=(*notes, *made.notes))
    return found


def survival_notes(minus: Table) -> Sequence[str]:
    """The notes that `control_tables` put first, one of each tuned model."""
    return minus.notes[: sum(row.base is not None for row in minus.rows)]


def _is_of(control: str, tuned: str) -> bool:
    """Whether a control is one for this model: shuffled pairs for the same model's."""
    suffix = f" ({SHUFFLED})"
    return not control.endswith(suffix) or control == tuned + suffix


def _rebased(control: str, tuned: Sequence[str]):
    """A function that gives the entries of these models the control as base."""

    def rebase(item: Scored) -> Scored | None:
        model = item.entry["model"]
        if model not in (control, *tuned):
            return None
        inputs = dict(item.entry.get("inputs", {}))
        inputs.pop("base_weights", None)  # of the base that it was tuned from
        base = None if model == control else control
        return dataclasses.replace(
            item, entry=item.entry | {"base": base, "inputs": inputs}
        )

    return rebase


def _points(number: float) -> str:
    return f"{100 * number:+.1f}"


def _survival(tuned: Row, control: Row, minus: Table) -> str:
    """One sentence or two on the mean delta and the tasks."""
    row = next(row for row in minus.rows if row.name == tuned.name)
    gains = {c.task: c.sign for c in minus.columns}
    won = [
        task
        for task, delta in row.deltas.items()
        if delta.certain and delta.value * gains[task] > 0
    ]
    lost = [
        task
        for task, delta in row.deltas.items()
        if delta.certain and delta.value * gains[task] < 0
    ]
    parts = [
        f"beyond it on {', '.join(won) or 'no task'}",
        *([f"below it on {', '.join(lost)}"] if lost else []),
    ]
    mean, its, difference = tuned.mean, control.mean, row.mean
    words = f"{tuned.name} and its control {control.name}: "
    if mean and its and difference and difference.low is not None:
        own = (
            f" [{_points(its.low)}, {_points(its.high)}]" if its.low is not None else ""
        )
        words += (
            f"mean delta {_points(mean.value)}, of the control {_points(its.value)}{own}; "
            f"the difference {_points(difference.value)} [{_points(difference.low)}, "
            f"{_points(difference.high or 0)}] {_found(mean.value, difference)}; "
        )  # fmt: skip
    return words + f"{' and '.join(parts)} (test and interval, as in bold)."


def _found(delta: float, difference: Estimate) -> str:
    """What the difference says of a mean delta."""
    if not difference.certain:
        return "is not more than chance"
    if difference.value < 0:
        return "is below the control"
    return "survives" if delta > 0 else "is more than chance, the delta is no gain"


def permuted_notes(scored: Sequence[Scored], rows: Mapping[str, Row]) -> list[str]:
    """Where models with permuted labels are not at chance, which they should be."""
    notes = []
    entries = [item.entry for item in scored if item.entry.get("control") == PERMUTED]
    for name in dict.fromkeys(entry["model"] for entry in entries):
        beyond = []
        for entry in (entry for entry in entries if entry["model"] == name):
            value = rows[name].values[entry["task"]]
            if value.low is not None and value.high is not None:
                outside = not value.low <= entry["chance"] <= value.high
                beyond += [entry["task"]] if outside else []
        count = len({entry["task"] for entry in entries if entry["model"] == name})
        where = f": {', '.join(beyond)}" if beyond else ""
        notes.append(
            f"{name}: every patient has another's embeddings, so scores should be at chance; "
            f"the interval excludes it on {len(beyond)} of {count} tasks{where}."
        )
    return notes
