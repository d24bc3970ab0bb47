"""A plan as tables, for a terminal or a file; and what the run costs in hours."""

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
    plan: dict[str, Any], price: float | None, mfu: float | None
) -> dict[str, Any]:
    """The plan with `run`: hours and chip-hours of the configured steps.

    Args:
      plan: From `make_plan`, with `steps`.
      price: Of a chip for an hour.
      mfu: Expected utilisation; used if below that of the bound.
    """
    train = next((step for step in plan["steps"] if step["name"] == "train"), None)
    if train is None or train["bound"]["seconds"] is None:
        return plan
    config = plan["config"]
    steps = config["optim"]["steps"]
    run: dict[str, Any] = {"steps": steps}
    if plan["train_samples"]:
        run["epochs"] = steps * config["data"]["batch"] / plan["train_samples"]
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
            "chip_hours": hours * plan["chips"],
        }
        if price is not None:
            entry["cost"] = entry["chip_hours"] * price
        run[name] = entry
    return plan | {"run": run}


def show(plan: dict[str, Any], console: Console) -> None:
    """Prints a plan, or why there is none and what would fit."""
    versions = ", ".join(f"{name} {v}" for name, v in plan["versions"].items())
    console.print(
        f"{plan['config']['name']} on {plan['target']}: {plan['chips']} chips, "
        f"{plan['chip']['title']} ({versions})",
        highlight=False,
    )
    console.print(plan["basis"], style="yellow" if "ESTIMATE" in plan["basis"] else "")
    if "does_not_fit" in plan:
        console.print(_refusal(plan))
        return
    console.print(_memory_table(plan))
    console.print(_work_table(plan))
    for step in plan["steps"]:
        if step["collectives"]:
            console.print(_collectives_table(step))
    if "run" in plan:
        console.print(_run_table(plan))
        console.print(ASSUMPTION)
    if any(not step["exact"] for step in plan["steps"]):
        console.print(
            "* a loop's length is known only at run time: its body is counted once."
        )
    console.print(f"Figures of the chip: {plan['chip']['source']}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _memory_table(plan: dict[str, Any]) -> Table:
    steps, limit = plan["steps"], plan["chip"]["memory"]
    table = _table("Memory per device", "", *(step["name"] for step in steps))
    memories = [step["memory"] for step in steps]

    def row(name, values):
        table.add_row(name, *map(_size, values))

    row("arguments", [memory["arguments"] for memory in memories])
    for kind in dict.fromkeys(kind for memory in memories for kind in memory["kinds"]):
        values = [memory["kinds"].get(kind, 0) for memory in memories]
        if any(values):
            row(f"  {kind}", values)
    new = [memory["outputs"] - memory["aliased"] for memory in memories]
    row("outputs in new memory", new)
    row("temporaries", [memory["temporaries"] for memory in memories])
    row("program", [memory["code"] for memory in memories])
    table.add_section()
    row("peak (with program)", [memory["peak"] for memory in memories])
    if limit:
        shares = (f"{memory['peak'] / limit:.0%}" for memory in memories)
        table.add_row(f"of {_size(limit)}", *shares)
    return table


def _work_table(plan: dict[str, Any]) -> Table:
    steps = plan["steps"]
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
    table.add_row("images/s at most", *(f"{r:,.0f}" if r else "" for r in rates))
    return table


def _collectives_table(step: dict[str, Any]) -> Table:
    """By kind and group; "mostly for" is the source that sends most."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for item in step["collectives"]:
        groups[item["kind"], item["group"]].append(item)
    columns = ("kind", "devices", "times", "largest", "sent", "mostly for")
    table = _table(f"Collectives of the {step['name']} step", *columns)
    sent = {key: sum(i["moved_bytes"] for i in items) for key, items in groups.items()}
    for kind, size in sorted(groups, key=sent.get, reverse=True):
        items = groups[kind, size]
        most = max(items, key=lambda item: item["moved_bytes"])
        table.add_row(
            kind,
            str(size),
            str(sum(item["repeats"] for item in items)),
            _size(max(item["size"] for item in items)),
            _size(sent[kind, size]),
            Text("/".join(most["source"].split("/")[-3:]), overflow="fold"),
        )
    return table


def _run_table(plan: dict[str, Any]) -> Table:
    run = dict(plan["run"])
    title = f"The run: {run.pop('steps'):,} steps"
    if "epochs" in run:
        title += f", {run.pop('epochs'):.3g} epochs"
    table = _table(title, "", *run)
    cases = run.values()
    table.add_row("a step", *(_time(case["seconds_per_step"]) for case in cases))
    rates = (f"{case['images_per_second']:,.0f}" for case in cases)
    table.add_row("images/s", *rates)
    table.add_row("hours", *(f"{case['hours']:,.3g}" for case in cases))
    table.add_row("chip-hours", *(f"{case['chip_hours']:,.4g}" for case in cases))
    if all("cost" in case for case in cases):
        table.add_row("cost", *(f"{case['cost']:,.2f}" for case in cases))
    return table


def _refusal(plan: dict[str, Any]) -> Group:
    refused = plan["does_not_fit"]
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
    for remedy in refused["remedies"]:
        word = "fits" if remedy["fits"] else "does not fit"
        peak = f" ({_size(remedy['peak'])})" if remedy["peak"] else ""
        style = "bold green" if remedy["fits"] else ""
        parts.append(Text(f"  {word}{peak}: {' '.join(remedy['flags'])}", style))
        parts.append(Text(f"      {remedy['note']}"))
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
