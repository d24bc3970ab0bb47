"""Results in the layouts of HEST-bench, Patho-Bench and eva, beside the table.

    run folders -> load_runs -> write_layout(scored, "hest", out) -> files, notes

A layout does not make a protocol: tasks by another one than the benchmark's are named. What
is not defined is null. Nothing is fitted; scores of single folds come from saved rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pathjax.report.leaderboards import eva, hest, patho_bench
from pathjax.report.leaderboards.results_by_fold import Written
from pathjax.report.scores import Scored
from pathjax.report.table_data import ReportError

LAYOUTS = {"hest": hest, "patho-bench": patho_bench, "eva": eva}


def write_layout(scored: Sequence[Scored], layout: str, out: Path) -> Written:
    """Writes results as a benchmark's own program does.

    Args:
      scored: Of `compare.load_runs`.
      layout: A name in LAYOUTS.
      out: The folder.

    Returns:
      The files; and what was left out, or is not the benchmark's protocol.

    Raises:
      ReportError: No task is of a kind that the benchmark has.
    """
    own: Any = LAYOUTS[layout]
    items = [item for item in scored if item.entry["kind"] in own.KINDS]
    other = {
        item.entry.get("of", item.entry["task"])
        for item in scored
        if item.entry["kind"] not in own.KINDS
    }
    notes = [f"not of its kinds, left out: {', '.join(sorted(other))}"] if other else []
    without = {item.entry["task"] for item in items if item.rows is None}
    if without:
        notes.append(f"rows were not saved, left out: {', '.join(sorted(without))}")
        items = [item for item in items if item.rows is not None]
    if not items:
        kinds = sorted({item.entry["kind"] for item in scored})
        raise ReportError(
            f"--format {layout}: expected results with rows of kind "
            f"{' or '.join(own.KINDS)}, got {', '.join(kinds)}"
        )
    named: dict[str, set[str]] = {}
    for item in items:
        if item.entry["protocol"] not in own.OWN:
            task = item.entry.get("of", item.entry["task"])
            named.setdefault(item.entry["protocol"], set()).add(task)
    notes += [
        f"{protocol} is not its own protocol"
        + (f" ({' or '.join(own.OWN)})" if own.OWN else "")
        + f", so a leaderboard's numbers are not comparable: {', '.join(sorted(tasks))}"
        for protocol, tasks in named.items()
    ]
    paths, more = own.write(items, Path(out))
    return paths, [f"{layout}: {note}" for note in (*notes, *more)]
