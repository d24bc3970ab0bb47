"""`pathjax bench accelerator`: numerics, speed and memory of one device of this machine.

    pathjax bench accelerator --out FILE.json      # FILE.md is the same as a page

There is no peer: the bounds are the device's own matrix product and `pathjax plan`. Every
model trains and embeds a synthetic study in processes of their own, by the trainer's and
`embed`'s steps and loaders, in batches that double until the device's memory ends. What
cannot be measured is named.
"""

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pathjax.bench import loader
from pathjax.bench.accelerator_page import page
from pathjax.bench.accelerator_worker import CONFIG, overrides
from pathjax.bench.options import BenchError, Entry
from pathjax.bench.report import machine
from pathjax.bench.runner import Worker
from pathjax.progress import stage

__all__ = ["Options", "failures", "page", "run"]

TASKS = ("train", "embed")
# Least share of the matrix product's rate.
BARS = {("L/16", "bfloat16", "train"): 0.5, ("L/16", "bfloat16", "embed"): 0.6}


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
      models: VARIANT or VARIANT:float32, comma-separated; bfloat16 without a dtype.
      image_px: Side of the images.
      batch, most: The smallest batch, doubled up to `most` or the end of memory.
      count: Steps of each batch size, after the warm-up.
      genes: G; one tile per sample.
      tiles, tile_px: Of the synthetic study.
      matrix: Side of the matrices whose product is timed.
      check: Variant of the encoder whose numerics are compared.
      threads: Cores, and threads that decode.
    """

    models: str = "S/16,S/16:float32,B/16,L/16,g/14"
    image_px: int = 224
    batch: int = 64
    most: int = 1024
    count: int = 20
    genes: int = 200
    tiles: int = 640
    tile_px: int = 256
    matrix: int = 8192
    check: str = "S/16"
    threads: int = os.cpu_count() or 1


def run(options: Options) -> dict[str, Any]:
    """Measures everything; a process that breaks is recorded and the rest goes on."""
    import jax

    # This process must not hold the device that its workers need.
    jax.config.update("jax_platforms", "cpu")
    before, models = machine(), []
    with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as name:
        made = loader.Options(tiles=options.tiles, tile_px=options.tile_px)
        loader.prepare(made, Path(name))
        values = dataclasses.asdict(options) | {"study": f"{name}/study"}
        asked = options.models.split(",")
        with stage("measure", 2 + 3 * len(asked)) as bar:
            device = _ask("Device", values, _with_cpu(os.environ))
            bar(1, "loader")
            data = _ask("Loader", values, {"JAX_PLATFORMS": "cpu"})
            for number, model in enumerate(asked):
                variant, _, dtype = model.partition(":")
                one = {"variant": variant, "dtype": dtype or "bfloat16"}
                for index, task in enumerate(TASKS):
                    bar(2 + 3 * number + index, f"{model}, {task}")
                    try:
                        one[task] = _ask("Sweep", values | one | {"task": task})
                    except BenchError as error:
                        one[task] = {"batches": [], "ended": str(error)}
                bar(4 + 3 * number, f"{model}, plan")
                add_plan(one, values, device)
                models.append(one)
            bar(2 + 3 * len(asked), "")
    for one, task in itertools.product(models, TASKS):
        rate = device["matrix_gflops"][_arithmetic(one["dtype"])] * 1e9
        for row in one[task]["batches"]:
            row["of_matrix"] = row["images_per_s"] * row["flops_per_image"] / rate
            row["cores_needed"] = row["images_per_s_alone"] / data["per_core"]
    return {
        "what": "accelerator",
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": before,
        "driver": driver(),
        "options": dataclasses.asdict(options),
        "device": device,
        "loader": data,
        "models": models,
        "bars": [bar_of(models, *of, least) for of, least in BARS.items()],
    }


def _ask(kind: str, values: dict[str, Any], environ: Any = None) -> dict[str, Any]:
    """The `info` of a contestant, in a process of its own.

    Raises:
      BenchError: It ended instead.
    """
    where = f"pathjax.bench.accelerator_worker:{kind}"
    entry = Entry(kind, kind, where, values, environ=environ or {})
    with Worker(entry, sys.executable, os.environ) as worker:
        worker.start()
        return worker.info


def _with_cpu(environ: Any) -> dict[str, str]:
    """JAX_PLATFORMS with the CPU, which is the reference, beside the device."""
    asked = environ.get("JAX_PLATFORMS", "")
    return {"JAX_PLATFORMS": f"{asked},cpu"} if asked and "cpu" not in asked else {}


def _arithmetic(dtype: str) -> str:
    return dtype if dtype == "bfloat16" else "float32, default precision"


def add_plan(one: dict[str, Any], values: dict[str, Any], device: Any) -> None:
    """Adds `plan_bytes` to the batch of each task that `pathjax plan` estimates.

    For training that is the largest that ran, for embedding plan's own.
    """
    from pathjax.parallel.hardware import CHIPS
    from pathjax.plan import PlanError
    from pathjax.plan.process import make_plan

    if not one["train"]["batches"]:
        one["plan"] = "not compared: no batch trained"
        return
    # The estimate for a GPU depends on no figure of the chip but its memory.
    chip = CHIPS[device["chip"] or {"gpu": "h200"}.get(device["platform"], "cpu")]
    last = one["train"]["batches"][-1]
    sizes = values | {"batch": last["batch"]}
    request = {
        "config": CONFIG,
        "overrides": overrides(sizes, one["variant"], one["dtype"]),
        "target": f"{chip.name}:{'x'.join('1' * chip.axes)}",
        "steps": ["train", "embedding"],
        "genes": values["genes"],
        "tries": 0,
        "text_dim": None,
        "rows": None,
    }
    try:
        plan = make_plan(request)
    except PlanError as error:
        one["plan"] = f"not compared: {str(error)[:200]}"
        return
    refused = plan.get("does_not_fit", {})
    peaks = {
        s["name"]: (s["samples"], s["memory"]["peak"]) for s in plan.get("steps", ())
    }
    if refused.get("step") == "train":
        peaks["train"] = (last["batch"], refused["overflow"]["needed"])
    for task, step in (("train", "train"), ("embed", "embedding")):
        samples, peak = peaks.get(step, (0, None))
        for row in one[task]["batches"]:
            if row["batch"] == samples:
                row["plan_bytes"] = peak
    one["plan"] = plan["basis"]


def bar_of(models, variant: str, dtype: str, task: str, least: float) -> dict[str, Any]:
    """A bar, and the best share of the matrix rate; None if it was not measured."""
    shares = [
        row["of_matrix"]
        for one in models
        if (one["variant"], one["dtype"]) == (variant, dtype)
        for row in one[task]["batches"]
    ]
    what = f"ViT-{variant} {dtype}, {task}"
    return {"what": what, "least": least, "best": max(shares, default=None)}


def driver() -> str:
    """The NVIDIA driver's version, or why there is none to name."""
    if shutil.which("nvidia-smi") is None:
        return "none: nvidia-smi is not installed"
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    return done.stdout.split("\n")[0] or f"unknown: nvidia-smi gave {done.returncode}"


def failures(result: dict[str, Any]) -> list[str]:
    """What a working device would not have: failed checks, and tasks that broke."""
    failed = [
        f"{check['what']} in {check['arithmetic']}"
        for check in result["device"]["numerics"]
        if check["state"] == "failed"
    ]
    return failed + [
        f"ViT-{one['variant']} {one['dtype']}, {task}"
        for one, task in itertools.product(result["models"], TASKS)
        if not one[task]["batches"] and "exceeds the memory" not in one[task]["ended"]
    ]
