"""A plan in words and tables, for a terminal or a file; what it costs in hours.

Numbers come from the worker's answer; hours and cost are the only ones made here.
"""

from collections import defaultdict
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

GIB = 1 << 30
ASSUMPTION = (
    "The bound takes computing, memory traffic and links to overlap perfectly, each at "
    "its peak: a real step takes longer."
)


def add_cost(
    found: dict[str, Any], price: float | None, mfu: float | None
) -> dict[str, Any]:
    """The answer with `run`: hours and chip-hours of the configured steps.

    Args:
      found: a worker's answer with `steps`.
      price: of a chip for an hour.
      mfu: utilisation to expect in place of the bound, if it is lower.
    """
    train = next((one for one in found["steps"] if one["name"] == "train"), None)
    if train is None or train["bound"]["seconds"] is None:
        return found
    config = found["config"]
    steps = config["optim"]["steps"]
    run: dict[str, Any] = {"steps": steps}
    if found["train_samples"]:
        seen = steps * config["data"]["batch"]
        run["epochs"] = seen / found["train_samples"]
    least, reach = train["bound"]["seconds"], train["bound"]["mfu"]
    cases = {"at the bound": least}
    if mfu is not None and mfu < reach:
        cases[f"at {mfu:.0%} MFU"] = least * reach / mfu
    for name, seconds in cases.items():
        hours = steps * seconds / 3600
        entry = {
            "seconds_per_step": seconds,
            "samples_per_second": train["samples"] / seconds,
            "images_per_second": train["images"] / seconds,
            "hours": hours,
            "chip_hours": hours * found["chips"],
        }
        if price is not None:
            entry["cost"] = entry["chip_hours"] * price
        run[name] = entry
    return found | {"run": run}


def show(found: dict[str, Any], console: Console) -> None:
    """Prints a plan, or why there is none and what would fit."""
    config, versions = found["config"], found["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    console.print(
        f"{config['name']} on {found['target']}: {found['chips']} chips, "
        f"{found['chip']['title']} ({listed})",
        highlight=False,
    )
    console.print(
        found["basis"], style="yellow" if "ESTIMATE" in found["basis"] else ""
    )
    if "does_not_fit" in found:
        console.print(_refusal(found))
        return
    console.print(_memory_table(found))
    console.print(_work_table(found))
    for step in found["steps"]:
        if step["collectives"]:
            console.print(_collectives_table(step))
    if "run" in found:
        console.print(_run_table(found))
        console.print(ASSUMPTION)
    if any(not step["exact"] for step in found["steps"]):
        console.print(
            "* a loop's length is known only when it runs: its body is counted once."
        )
    console.print(f"Figures of the chip: {found['chip']['source']}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _memory_table(found: dict[str, Any]) -> Table:
    steps = found["steps"]
    limit = found["chip"]["memory"]
    names = [step["name"] for step in steps]
    table = _table("Memory per device", "", *names)
    memories = [step["memory"] for step in steps]
    kinds = list(dict.fromkeys(kind for one in memories for kind in one["kinds"]))
    rows = [
        (f"  {kind}", [one["kinds"].get(kind, 0) for one in memories]) for kind in kinds
    ]
    rows = [row for row in rows if any(row[1])]
    rows.insert(0, ("arguments", [one["arguments"] for one in memories]))
    new = [one["outputs"] - one["aliased"] for one in memories]
    rows.append(("outputs in new memory", new))
    rows.append(("temporaries", [one["temporaries"] for one in memories]))
    rows.append(("program", [one["code"] for one in memories]))
    for name, values in rows:
        table.add_row(name, *map(_size, values))
    table.add_section()
    table.add_row(
        "peak (at once, and program)", *(_size(one["peak"]) for one in memories)
    )
    if limit:
        share = [f"{one['peak'] / limit:.0%}" for one in memories]
        table.add_row(f"of {_size(limit)}", *share)
    return table


def _work_table(found: dict[str, Any]) -> Table:
    steps = found["steps"]
    table = _table("One call", "", *(step["name"] for step in steps))
    stars = ["" if step["exact"] else "*" for step in steps]

    def row(name, values):
        shown = (f"{v}{star}" for v, star in zip(values, stars, strict=True))
        table.add_row(name, *shown)

    table.add_row("samples", *(f"{step['samples']:,}" for step in steps))
    table.add_row("images", *(f"{step['images']:,}" for step in steps))
    row("TFLOPs executed", [f"{step['flops'] / 1e12:,.4g}" for step in steps])
    row("TFLOPs of the model", [f"{step['model_flops'] / 1e12:,.4g}" for step in steps])
    row("memory traffic per device", [_size(step["accessed"]) for step in steps])
    sent = [sum(c["moved_bytes"] for c in step["collectives"]) for step in steps]
    row("sent per device", map(_size, sent))
    if steps[0]["bound"]["seconds"] is None:
        return table
    table.add_section()
    for kind in ("compute", "memory", "links"):
        row(f"least time, {kind}", [_time(step["bound"][kind]) for step in steps])
    table.add_row("limited by", *(step["bound"]["limited_by"] for step in steps))
    row("MFU at most", [f"{step['bound']['mfu']:.1%}" for step in steps])
    rates = [step["images"] / step["bound"]["seconds"] for step in steps]
    shown = [f"{rate:,.0f}" if rate else "" for rate in rates]
    table.add_row("images/s at most", *shown)
    return table


def _collectives_table(step: dict[str, Any]) -> Table:
    """By kind and group, and for each the source that moves the most."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for one in step["collectives"]:
        groups[one["kind"], one["group"]].append(one)
    table = _table(
        f"Collectives of the {step['name']} step",
        "kind",
        "devices",
        "times",
        "largest",
        "sent",
        "mostly for",
    )
    ranked = sorted(
        groups.items(), key=lambda pair: -sum(one["moved_bytes"] for one in pair[1])
    )
    for (kind, size), each in ranked:
        most = max(each, key=lambda one: one["moved_bytes"])
        table.add_row(
            kind,
            str(size),
            str(sum(one["repeats"] for one in each)),
            _size(max(one["size"] for one in each)),
            _size(sum(one["moved_bytes"] for one in each)),
            Text("/".join(most["source"].split("/")[-3:]), overflow="fold"),
        )
    return table


def _run_table(found: dict[str, Any]) -> Table:
    run = dict(found["run"])
    title = f"The run: {run.pop('steps'):,} steps"
    if "epochs" in run:
        title += f", {run.pop('epochs'):.3g} epochs"
    table = _table(title, "", *run)
    cases = run.values()
    table.add_row("a step", *(_time(one["seconds_per_step"]) for one in cases))
    rates = (f"{one['images_per_second']:,.0f}" for one in cases)
    table.add_row("images/s", *rates)
    table.add_row("hours", *(f"{one['hours']:,.3g}" for one in cases))
    table.add_row("chip-hours", *(f"{one['chip_hours']:,.4g}" for one in cases))
    if all("cost" in one for one in cases):
        table.add_row("cost", *(f"{one['cost']:,.2f}" for one in cases))
    return table


def _refusal(found: dict[str, Any]) -> Group:
    refused = found["does_not_fit"]
    overflow = refused["overflow"]
    parts: list[Any] = [
        Text(f"DOES NOT FIT: the {refused['step']} step. {overflow['message']}", "bold")
    ]
    for title, rows in (
        ("Largest buffers, by the compiler", overflow["buffers"][:5]),
        ("Largest arrays given, per device", refused["arguments"]),
        ("Largest arrays computed, per device, before fusion", refused["values"]),
    ):
        if rows:
            parts += [Text(f"\n{title}:")]
            parts += [Text(f"  {_size(size):>11}  {what}") for size, what in rows]
    if refused["remedies"]:
        parts.append(Text("\nTried:"))
    for one in refused["remedies"]:
        word = "fits" if one["fits"] else "does not"
        peak = f" ({_size(one['peak'])})" if one["peak"] else ""
        style = "bold green" if one["fits"] else ""
        parts.append(Text(f"  {word}{peak}: {' '.join(one['flags'])}", style))
        parts.append(Text(f"      {one['note']}"))
    return Group(*parts)


def _size(count: float) -> str:
    for unit, size in (("GiB", GIB), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count:.0f} B"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:,.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds * 1e6:.1f} us"
