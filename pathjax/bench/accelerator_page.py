"""The result of `pathjax bench accelerator` as a page in Markdown; measures nothing."""

from typing import Any

SPEED = ["step", "batch", "images/s", "device alone", "of matrix rate", "MFU"]
SPEED += ["data wait", "peak GiB", "plan GiB", "peak / plan", "cores to decode"]


def page(result: dict[str, Any]) -> str:
    """The page, a section of docs/performance.md."""
    device, data, host = result["device"], result["loader"], result["machine"]
    options, checks = result["options"], device["numerics"]
    versions = ", ".join(f"{k} {v}" for k, v in device["versions"].items())
    limit = device["bytes_limit"]
    memory = f"{limit / 2**30:.1f} GiB" if limit else "a limit that is not reported"
    rates = [f"{k} {v / 1e3:.4g}" for k, v in device["matrix_gflops"].items()]
    notes = {f"{check['what']}: {check['note']}" for check in checks if check["note"]}
    if limit is None:
        notes.add(f"peak memory: {device['device']} reports no memory_stats")
    if device["chip"] is None:
        notes.add(f"MFU: no data sheet's peak of {device['device']} is known")
    speed = []
    for model in result["models"]:
        name = f"ViT-{model['variant']} {model['dtype']}"
        notes.add(f"plan of {name}: {model['plan']}")
        for task in ("train", "embed"):
            rows, ended = model[task]["batches"], model[task]["ended"]
            speed += [[f"{name}, {task}", *_speed(row)] for row in rows]
            notes |= {f"{name}, {task}: {ended}"} if ended else set()
    about = (
        f"`pathjax bench accelerator`, {result['when']}: one of {device['devices']} "
        f"devices, memory for JAX {memory}; driver {result['driver']}, "
        f"{device['runtime']}, {versions}; {host['processor']}, {host['cores']} cores. "
        f"Matrix products of {options['matrix']} a side, TFLOP/s: {', '.join(rates)}."
    )
    columns = (
        f"Images of {options['image_px']} px; {options['count']} steps of each batch. "
        "*Device alone* takes one batch again and again, *data wait* is the loop's share "
        "of time in waiting for batches, *plan* the peak that `pathjax plan` estimates. "
        f"The loader decodes and augments {data['images_per_s']:.0f} images/s with "
        f"{options['threads']} threads, {data['per_core']:.0f} per second of one core; "
        "*cores to decode* is what *device alone* needs."
    )
    parts = [
        f"### {device['device']}",
        about,
        "\n".join(map(_bar, result["bars"])),
        "Largest error of outputs and gradients, relative to the CPU in float32:",
        _numerics(checks),
        columns,
        _table(SPEED, speed),
        "\n".join(f"- {' '.join(note.split())}" for note in sorted(notes)),
    ]
    return "\n\n".join(parts)


def _numerics(checks: list[dict[str, Any]]) -> str:
    head = {c["arithmetic"]: f"{c['arithmetic']}, ≤ {c['tolerance']:g}" for c in checks}
    rows: dict[str, list[str]] = {}
    for check in checks:
        cell = "" if check["error"] is None else f"{check['error']:.1e} "
        cell += {"passed": "", "failed": "**failed**"}.get(check["state"], "skipped")
        rows.setdefault(check["what"], []).append(cell.strip())
    return _table(
        ["", *head.values()], [[what, *cells] for what, cells in rows.items()]
    )


def _bar(bar: dict[str, Any]) -> str:
    text = f"- {bar['what']}: the bar is {bar['least']:.0%} of the matrix rate, "
    if bar["best"] is None:
        return f"{text}**not measured**"
    met = "met" if bar["best"] >= bar["least"] else "**not met**"
    return f"{text}reached {bar['best']:.0%}: {met}"


def _speed(row: dict[str, Any]) -> list[str]:
    peak, plan = row["peak_bytes"], row.get("plan_bytes")
    return [
        str(row["batch"]),
        *(f"{row[name]:.4g}" for name in ("images_per_s", "images_per_s_alone")),
        f"{row['of_matrix']:.0%}",
        "" if row["mfu"] is None else f"{row['mfu']:.0%}",
        f"{row['data_wait']:.0%}",
        *("" if size is None else f"{size / 2**30:.2f}" for size in (peak, plan)),
        f"{peak / plan:.2f}" if peak and plan else "",
        f"{row['cores_needed']:.1f}",
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
