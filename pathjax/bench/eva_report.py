"""What follows from the measurements of `bench eva`, and its tables."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def agreement(
    ours: Sequence[float], theirs: Sequence[float], *, paired: bool
) -> dict[str, float]:
    """Our mean less theirs, in points of 100, and its standard error.

    The error is what the difference may be by chance, from the scatter over runs: of
    run-by-run differences where runs share their start, else of two independent means
    of unequal variance (Welch 1947, Biometrika 34:28).

    Raises:
      ValueError: fewer than two runs, or not as many on both sides.
    """
    if len(ours) != len(theirs) or len(ours) < 2:
        raise ValueError(
            f"found {len(ours)} and {len(theirs)} runs, wanted as many, and 2 at least"
        )
    if paired:
        gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
        variance = statistics.variance(gaps)
    else:
        variance = statistics.variance(ours) + statistics.variance(theirs)
    return {
        "points": 100 * (statistics.mean(ours) - statistics.mean(theirs)),
        "standard_error": 100 * math.sqrt(variance / len(ours)),
    }


def steps_a_second(marks: Sequence[tuple[int, float]]) -> float:
    """Steps a second between the first mark of (step, seconds) and the last.

    Raises:
      ValueError: fewer than two marks.
    """
    if len(marks) < 2:
        raise ValueError(f"found {len(marks)} marks, wanted 2 at least")
    (first, begun), (last, end) = marks[0], marks[-1]
    return (last - first) / (end - begun)


def show(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints a result as tables."""
    console = console or Console()
    runs = found["options"]["runs"]
    if found["sets"]:
        console.print(_scores(found["sets"], runs))
    if "time" in found:
        console.print(_seconds(found["time"], runs))
    place = found["machine"]
    console.print(
        f"{place['processor']}, {place['cores']} cores; load {place['load'][0]:.1f} "
        f"before, {found['load_after'][0]:.1f} after",
        highlight=False,
    )


def _scores(sets: Mapping[str, Any], runs: int) -> Table:
    table = Table(title=f"balanced accuracy in %, mean of {runs} runs (deviation)")
    for title in ("set", "rows", "at most", "pathjax", "eva", "pathjax less eva"):
        table.add_column(title, justify="left" if title == "set" else "right")
    for name, one in sets.items():
        told = one["told"]
        rows = f"{told['train_rows']} + {told['val_rows']}"
        most = f"{told['max_steps']} steps"
        ours = _spread(one["pathjax"]["scores"])
        kinds = [kind for kind in ("eva", "eva from our starts") if kind in one]
        if not kinds:
            table.add_row(name, rows, most, ours, "", "")
        for kind in kinds:
            label = name if kind == "eva" else f"{name}, {kind}"
            gap = one[kind]["agreement"]
            points = f"{gap['points']:+.2f} (s.e. {gap['standard_error']:.2f})"
            table.add_row(label, rows, most, ours, _spread(one[kind]["scores"]), points)
    return table


def _spread(scores: Sequence[float]) -> str:
    mean, deviation = statistics.mean(scores), statistics.stdev(scores)
    return f"{100 * mean:.2f} ({100 * deviation:.2f})"


def _seconds(time: Mapping[str, Any], runs: int) -> Table:
    told = time["told"]
    table = Table(
        title=f"seconds for {runs} runs, {told['train_rows']} x {told['width']}, "
        f"at most {told['max_steps']} steps a run"
    )
    titles = ("round", "pathjax, cold", "warm", "steps", "eva, steps/s", "eva", "ratio")
    for title in titles:
        table.add_column(title, justify="right")
    for number, one in enumerate(time["rounds"], 1):
        row = [f"{one[how]['seconds']:.1f}" for how in ("cold", "warm")]
        row.append(str(one["cold"]["steps"]))
        if "ratio" in one:
            rates = one["eva_steps_a_second"].items()
            row.append(", ".join(f"{r:.1f} ({w} workers)" for w, r in rates))
            row.append(f"{one['eva_seconds']:.0f}")
            row.append(f"{one['ratio']['cold']:.0f} ({one['ratio']['warm']:.0f} warm)")
        table.add_row(str(number), *row)
    return table
