"""The workers' side of `pathjax bench accelerator`: a device, a loader, a sweep.

Each class does its work in its constructor, in a process of its own (`bench/worker.py`),
and leaves the result in `info`. The first device is measured, the others are not used.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from pathjax.bench.worker import Contestant, jax_matrix

CONFIG = "configs/demo.py:contrastive"
WARM_UP = 8  # steps; the first compiles, the others use up batches read meanwhile


def overrides(values: dict[str, Any], variant: str, dtype: str) -> dict[str, Any]:
    """Overrides of CONFIG: one tile per sample, no validation."""
    return {
        "study": values["study"],
        "val_fold": "",
        "eval.every": 0,
        "model.variant": variant,
        "model.dtype": dtype,
        "data.unit": "tile",
        "data.tiles": 1,
        "data.image_px": values["image_px"],
        "data.batch": values["batch"],
        "data.genes": values["genes"],
        "data.threads": values["threads"],
    }


class Device(Contestant):
    """What the device is, its numerics, and its rate of matrix products by arithmetic."""

    def __init__(self, options: dict[str, Any]):
        import jax
        import jaxlib

        from pathjax.bench import numerics
        from pathjax.config import load
        from pathjax.train.telemetry.mfu import chip_of

        def config(dtype):
            # The batch of a step is smaller: the reference is a CPU.
            words = overrides(options | {"batch": 8}, options["check"], dtype)
            return load(CONFIG, words | {"model.drop_path": 0.0})

        device, cpu = jax.devices()[0], jax.devices("cpu")[0]
        rates = {}
        for name, (dtype, precision, _) in numerics.ARITHMETIC.items():
            with jax.default_matmul_precision(precision):
                rates[name] = jax_matrix(options["matrix"], dtype)["jax"]
        chip = chip_of(device)
        self.info = {
            "platform": device.platform,
            "device": device.device_kind,
            "devices": jax.device_count(),
            "chip": chip.name if chip else None,
            "runtime": device.client.platform_version,
            "bytes_limit": (device.memory_stats() or {}).get("bytes_limit"),
            "versions": {m.__name__: m.__version__ for m in (jax, jaxlib)},
            "matrix_gflops": rates,
            "numerics": [
                dataclasses.asdict(check)
                for check in numerics.compare(config, device, cpu)
            ],
        }


class Loader(Contestant):
    """The training loader alone: images per second, and per second of one core."""

    def __init__(self, options: dict[str, Any]):
        from pathjax.config import load
        from pathjax.parallel.slice import Slice
        from pathjax.train.inputs import read_inputs

        inputs = read_inputs(
            load(CONFIG, overrides(options, options["check"], "float32"))
        )
        batches = inputs.train_batches(inputs.training_fold(), Slice(), None)
        for _ in range(WARM_UP):
            next(batches)
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(options["count"]):
            next(batches)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        images = options["count"] * options["batch"]
        self.info = {"images_per_s": images / seconds, "per_core": images / cpu}


class Sweep(Contestant):
    """Training or embedding, batch size after batch size."""

    def __init__(self, options: dict[str, Any]):
        import jax

        from pathjax.plan.memory import read_overflow

        batches: list[dict[str, Any]] = []
        self.info = {"batches": batches, "ended": ""}
        size = options["batch"]
        while size <= options["most"]:
            try:
                batches.append(measure(options | {"batch": size}))
            except jax.errors.JaxRuntimeError as error:
                if read_overflow(str(error)) is None:
                    raise
                first = str(error).splitlines()[0][:200]
                self.info["ended"] = f"batch {size} exceeds the memory: {first}"
                break
            size *= 2


def measure(values: dict[str, Any]) -> dict[str, Any]:
    """Rates, shares and memory of one batch size, with the loader and without.

    `peak_bytes` is that of the process so far, so sizes have to rise.
    """
    import jax

    from pathjax.config import load

    words = overrides(values, values["variant"], values["dtype"])
    config = load(CONFIG, words)
    steps = WARM_UP + 2 * values["count"]
    work = {"train": training, "embed": embedding}[values["task"]]
    advance, feed, flops = work(config, jax.devices()[:1], steps)
    begun = time.perf_counter()
    pace(advance, feed, WARM_UP, config, flops)
    warm = time.perf_counter() - begun
    times = pace(advance, feed, values["count"], config, flops)
    same = itertools.repeat(next(feed))
    alone = pace(advance, same, values["count"], config, flops)
    stats = jax.devices()[0].memory_stats() or {}
    return {
        "batch": values["batch"],
        "images_per_s": times["time/images_per_s"],
        "images_per_s_alone": alone["time/images_per_s"],
        "data_wait": times["time/data"] / times["time/total"],
        "mfu": times.get("time/mfu"),
        "flops_per_image": flops / values["batch"],
        "warm_up_s": warm,
        "peak_bytes": stats.get("peak_bytes_in_use"),
    }


Work = tuple[Callable[[Any], Any], Iterator[Any], int]  # step, batches, model FLOPs


def training(config, devices, steps: int) -> Work:
    """The trainer's step, feed and count of FLOPs."""
    import jax

    from pathjax.parallel.collective import MeshSlice
    from pathjax.train.hooks import Feed
    from pathjax.train.inputs import read_inputs
    from pathjax.train.program import make_program
    from pathjax.train.telemetry.mfu import model_flops

    mesh, inputs = config.make_mesh(devices), read_inputs(config)
    program = make_program(config, inputs.objective, mesh)
    key = jax.random.key(config.seed)
    state, shardings = program.make_state(key)
    step = program.train_step(shardings)
    batches = inputs.train_batches(inputs.training_fold(), MeshSlice(mesh), None)
    feed = Feed(batches, mesh, program.objective.requires)

    def advance(batch):
        nonlocal state
        state, logs = step(state, batch, key)
        return logs

    # One more than the steps: the batch that is used again and again.
    read = (next(feed)[0] for _ in range(steps + 1))
    return advance, read, model_flops(program).total


def embedding(config, devices, steps: int) -> Work:
    """The step of `pathjax embed`, its batches of a study, and its FLOPs."""
    import jax
    import numpy as np

    from pathjax.data.study import Study
    from pathjax.data.tile_source import StudyTiles
    from pathjax.data.transforms import centre_crop
    from pathjax.embeddings.embed import make_embed_step
    from pathjax.objectives.objective import init_vit
    from pathjax.parallel.mesh import batch_sharding, replicated
    from pathjax.train.telemetry.flops import jaxpr_flops

    mesh, vit, data = config.make_mesh(devices), config.encoder(None), config.data
    created = jax.jit(lambda key: init_vit(vit, key), out_shardings=replicated(mesh))
    params, step = created(jax.random.key(0)), make_embed_step(vit, mesh)
    source, px = StudyTiles(Study(config.study)), data.image_px
    parts = source.batches(
        np.resize(np.arange(len(source)), data.batch * (steps + 1)),
        batch=data.batch,
        px=px,
        prepare=functools.partial(centre_crop, px=px),
        threads=data.threads,
    )
    rows = batch_sharding(mesh)
    read = (jax.device_put(part["image"], rows) for part in parts)
    image = jax.ShapeDtypeStruct((data.batch, px, px, 3), "uint8")
    flops = jaxpr_flops(step.trace(params, image).jaxpr).total
    return lambda images: step(params, images), read, flops


def pace(advance, feed, count: int, config, flops: int) -> dict[str, float]:
    """`StepTimer`'s figures of `count` steps, each read one step late as in a run."""
    import jax

    from pathjax.train.telemetry.mfu import peak_flops
    from pathjax.train.telemetry.timing import StepTimer

    peak = peak_flops(jax.devices()[:1], config.model.get("dtype", "float32"))
    timer, pending = StepTimer(0, config.data.batch, flops, peak), None
    for _ in range(count):
        with timer.phase("data"):
            batch = next(feed)
        with timer.phase("step"):
            result = advance(batch)
            jax.device_get(pending)
        pending = result
    jax.device_get(pending)
    return timer.flush(count)
