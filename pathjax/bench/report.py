"""A finished benchmark as one JSON value, and that value as tables for people."""

import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

import pathjax
from pathjax.bench.duel import Record, Worker, paired_ratio, spread
from pathjax.bench.options import PRIVATE

SCHEMA = 1


def machine() -> dict[str, Any]:
    """Processor, cores, memory and what else was running when it was called."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            found = re.search(r"^model name\s*:\s*(.+)$", file.read(), re.MULTILINE)
        model = found.group(1) if found else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": f"{platform.system()} {platform.machine()}",
        "load": list(os.getloadavg()),
    }


def result(
    what: str,
    options: Mapping[str, Any],
    workers: Mapping[str, Worker],
    records: Mapping[str, Record],
    matrix: Mapping[str, Sequence[float]],
    before: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that was measured.

    `ratios` compare the first contestant with each other one, and each of ours with each
    peer. `share` is the part of the best library's matrix-product rate, the median over
    rounds of both.
    """
    best = max((spread(rates)["median"] for rates in matrix.values()), default=None)
    first = next(iter(workers))
    flops = workers[first].info.get("flops_per_image")
    found = {}
    for name, worker in workers.items():
        record = records[name]
        rate = spread(record.rates)
        found[name] = {
            "label": worker.entry.label,
            "images_per_second": {**rate, "rounds": record.rates},
            "images_per_cpu_second": spread(record.cpu_rates)
            if record.cpu_rates
            else None,
            "share_of_matrix_rate": rate["median"] * flops / best / 1e9
            if flops and best
            else None,
            "peak_resident_bytes": worker.peak_bytes,
            "ready_seconds": worker.ready_seconds,
            **worker.info,
        }
    return {
        "schema": SCHEMA,
        "what": what,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "pathjax": pathjax.__version__,
        "python": platform.python_version(),
        "machine": dict(before),
        "load_after": list(os.getloadavg()),
        "options": {k: v for k, v in options.items() if k not in PRIVATE},
        **extra,
        "matrix_gflops": {
            name: {**spread(rates), "rounds": list(rates)}
            for name, rates in matrix.items()
        },
        "contestants": found,
        "ratios": [
            {"of": one, "to": other}
            | paired_ratio(records[one].rates, records[other].rates)
            for one, other in pairs(workers)
        ],
    }


def pairs(workers: Mapping[str, Worker]) -> list[tuple[str, str]]:
    """Whom to compare with whom."""
    first, *rest = workers
    peers = [name for name in rest if workers[name].entry.peer]
    ours = [name for name in rest if name not in peers]
    return [(first, name) for name in rest] + [(a, b) for a in ours for b in peers]


def show(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints a result as tables."""
    console = console or Console(file=sys.stdout)
    first = next(iter(found["contestants"]))
    ratios = {r["to"]: r for r in found["ratios"] if r["of"] == first}
    table = Table(title=f"bench {found['what']}: images per second")
    columns = ("contestant", "median", "min to max", f"{first} is", "peak memory")
    shares = bool(found["matrix_gflops"])
    for name in (*columns, "of matrix rate") if shares else columns:
        table.add_column(name, justify="left" if name == "contestant" else "right")
    for name, one in found["contestants"].items():
        rate, ratio = one["images_per_second"], ratios.get(name)
        row = [
            one["label"],
            f"{rate['median']:.4g}",
            f"{rate['min']:.4g} to {rate['max']:.4g}",
            f"{ratio['median']:.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})"
            if ratio
            else "",
            f"{one['peak_resident_bytes'] / 1e9:.2f} GB",
        ]
        if shares:
            share = one["share_of_matrix_rate"]
            row.append(f"{share:.0%}" if share is not None else "")
        table.add_row(*row)
    console.print(table)
    for ratio in found["ratios"]:
        if ratio["of"] != first:
            one, other = (found["contestants"][ratio[k]]["label"] for k in ("of", "to"))
            console.print(
                f"{one} is {ratio['median']:.2f}x {other} "
                f"({ratio['min']:.2f} to {ratio['max']:.2f})",
                highlight=False,
            )
    for name, rate in found["matrix_gflops"].items():
        console.print(
            f"float32 matrix product, {name}: {rate['median']:.0f} GFLOP/s "
            f"({rate['min']:.0f} to {rate['max']:.0f})",
            highlight=False,
        )
    for one in found["contestants"].values():
        versions = ", ".join(f"{k} {v}" for k, v in one["versions"].items())
        line = f"{one['label']}: {versions}; {one['threads']} threads; {one['note']}"
        console.print(line, highlight=False, soft_wrap=True)
    flops = found["contestants"][first].get("flops_per_image")
    if flops:
        source = found["contestants"][first]["flops_source"]
        console.print(
            f"{flops / 1e9:.1f} GFLOP an image: {source}",
            highlight=False,
            soft_wrap=True,
        )
    place, load = found["machine"], found["machine"]["load"][0]
    console.print(
        f"{place['processor']}, {place['cores']} cores, "
        f"{place['memory_bytes'] / 2**30:.0f} GiB, Python {found['python']}; load "
        f"{load:.1f} before, {found['load_after'][0]:.1f} after",
        highlight=False,
    )
    cores = found["options"]["threads"]
    if load > 0.5:
        console.print(
            f"[yellow]the machine was not idle before (load {load:.1f} on {cores} of "
            "its cores): trust the ratios, and them with care[/yellow]"
        )
