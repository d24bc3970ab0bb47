"""The result of a benchmark as one JSON value, and that value as tables."""

import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

import pathjax
from pathjax.bench.options import PRIVATE, Entry

SCHEMA = 2  # 1 had images_per_second in place of items_per_second and unit


def machine() -> dict[str, Any]:
    """Processor, cores, memory and the current load."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            match = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
        model = match.group(1) if match else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        "load": list(os.getloadavg()),
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median and range, and the value of each round."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "rounds": list(values),
    }


def rates(turns: Sequence[Mapping[str, Any]], clock: str = "seconds") -> list[float]:
    """Items per second of each turn, or per CPU second with "cpu_seconds"."""
    return [turn["items"] / turn[clock] for turn in turns]


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """Ratios round by round, with median and range.

    Raises:
      ValueError: the numbers of rounds differ.
    """
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def result(
    what: str,
    options: Mapping[str, Any],
    workers: Mapping[str, Any],
    turns: Mapping[str, Sequence[Mapping[str, Any]]],
    matrix: Mapping[str, Sequence[float]],
    before: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that was measured.

    `ratios` compare the first contestant with each other one, and each of ours with each
    peer. `share_of_matrix_rate` is relative to the best library's matrix product.
    """
    best = max((statistics.median(rate) for rate in matrix.values()), default=0.0)
    first = next(iter(workers.values()))
    flops = first.info.get("flops_per_image", 0.0)
    contestants = {}
    for name, worker in workers.items():
        rate = spread(rates(turns[name]))
        share = rate["median"] * flops / best / 1e9 if flops and best else None
        contestants[name] = {
            "label": worker.entry.label,
            "items_per_second": rate,
            "items_per_cpu_second": spread(rates(turns[name], "cpu_seconds")),
            "share_of_matrix_rate": share,
            "peak_resident_bytes": worker.peak_bytes,
            "ready_seconds": worker.ready_seconds,
            **worker.info,
        }
    return {
        "schema": SCHEMA,
        "what": what,
        "unit": first.info.get("unit", "images"),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pathjax": pathjax.__version__,
        "python": platform.python_version(),
        "machine": dict(before),
        "load_after": list(os.getloadavg()),
        "options": {k: v for k, v in options.items() if k not in PRIVATE},
        **extra,
        "matrix_gflops": {name: spread(rate) for name, rate in matrix.items()},
        "contestants": contestants,
        "ratios": [
            {"of": a, "to": b} | paired_ratio(rates(turns[a]), rates(turns[b]))
            for a, b in pairs({name: each.entry for name, each in workers.items()})
        ],
    }


def pairs(entries: Mapping[str, Entry]) -> list[tuple[str, str]]:
    """The pairs to compare."""
    first, *rest = entries
    peers = [name for name in rest if entries[name].peer]
    ours = [name for name in rest if name not in peers]
    return [(first, name) for name in rest] + [(a, b) for a in ours for b in peers]


def show(values: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints a result as tables."""
    console = console or Console(file=sys.stdout)
    contestants, matrix = values["contestants"], values["matrix_gflops"]
    first, *_ = contestants
    ratios = {r["to"]: r for r in values["ratios"] if r["of"] == first}
    table = Table(title=f"bench {values['what']}: {values['unit']} per second")
    columns = ["contestant", "median", "min to max", f"{first} is", "peak memory"]
    for name in [*columns, "of matrix rate"][: 5 + bool(matrix)]:
        table.add_column(name, justify="left" if name == "contestant" else "right")
    for name, row in contestants.items():
        rate, share = row["items_per_second"], row["share_of_matrix_rate"]
        table.add_row(
            row["label"],
            f"{rate['median']:.4g}",
            f"{rate['min']:.4g} to {rate['max']:.4g}",
            _ratio(ratios[name]) if name in ratios else "",
            f"{row['peak_resident_bytes'] / 1e9:.2f} GB",
            *([] if share is None else [f"{share:.0%}"]),
        )
    console.print(table)
    for line in _lines(values, first):
        console.print(line, highlight=False, soft_wrap=True)
    load = values["machine"]["load"][0]
    if load > 0.5:
        console.print(
            f"[yellow]the machine was not idle before the run (load {load:.1f}): compare "
            "ratios, not rates[/yellow]"
        )


def _lines(values: Mapping[str, Any], first: str) -> list[str]:
    """What is said below the table."""
    contestants, host = values["contestants"], values["machine"]
    lines = [
        f"{contestants[ratio['of']]['label']} is {_ratio(ratio)} "
        f"{contestants[ratio['to']]['label']}"
        for ratio in values["ratios"]
        if ratio["of"] != first
    ]
    lines += values.get("summary", [])
    lines += [
        f"float32 matrix product, {name}: {rate['median']:.0f} GFLOP/s "
        f"({rate['min']:.0f} to {rate['max']:.0f})"
        for name, rate in values["matrix_gflops"].items()
    ]
    for row in contestants.values():
        versions = ", ".join(f"{k} {v}" for k, v in row["versions"].items())
        lines.append(
            f"{row['label']}: {versions}; {row['threads']} threads; {row['note']}"
        )
    if flops := contestants[first].get("flops_per_image"):
        source = contestants[first]["flops_source"]
        lines.append(f"{flops / 1e9:.1f} GFLOP per image: {source}")
    lines.append(
        f"{host['processor']}, {host['cores']} cores, "
        f"{host['memory_bytes'] / 2**30:.0f} GiB, Python {values['python']}; load "
        f"{host['load'][0]:.1f} before, {values['load_after'][0]:.1f} after"
    )
    return lines


def _ratio(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})"
