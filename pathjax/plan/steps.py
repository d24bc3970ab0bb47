"""The steps of a run, compiled for a target with abstract arrays, and measured.

Nothing is allocated and nothing runs: states and batches are shapes with shardings. The
training and validation steps are those of train/program.py, which `train` runs too; the
embedding step is embeddings/embed.py's, the probe evals/probes/logistic.py's.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from pathjax.config import RunConfig
from pathjax.embeddings.embed import make_embed_step
from pathjax.evals.probes import logistic
from pathjax.evals.probes.base import bucket
from pathjax.evals.protocols import PROTOCOLS
from pathjax.models.attention import compiled_for
from pathjax.models.variants import ViTConfig
from pathjax.objectives.objective import init_vit
from pathjax.parallel.hardware import Target
from pathjax.parallel.mesh import batch_sharding, make_mesh, replicated
from pathjax.plan.collectives import Collective, collectives
from pathjax.plan.hlo import parse
from pathjax.plan.inputs import Sizes, initial_model
from pathjax.plan.memory import (
    Memory,
    Overflow,
    device_bytes,
    largest_leaves,
    largest_values,
    read_memory,
    read_overflow,
)
from pathjax.plan.roofline import Bound, bound, bytes_accessed
from pathjax.train.inputs import make_objective
from pathjax.train.program import Program, make_program
from pathjax.train.telemetry.flops import Flops, jaxpr_flops
from pathjax.train.telemetry.mfu import model_flops

STEPS = ("train", "validation", "embedding", "probe")
EMBED_BATCH = 64  # tiles of `pathjax embed`, before rounding up to the devices
PROBE = PROTOCOLS["linear/1"].probe
PROBE_ROWS = 4096
UNKNOWN = Sizes()


class DoesNotFit(Exception):
    """A step needs more memory than a device has.

    Attributes:
      step: Its name.
      overflow: The compiler's report.
      arguments, values: The largest arrays given and computed, (bytes, description).
    """

    def __init__(self, step, overflow, arguments, values):
        super().__init__(f"the {step} step does not fit: {overflow.message}")
        self.step, self.overflow = step, overflow
        self.arguments, self.values = arguments, values


@dataclasses.dataclass(frozen=True)
class Step:
    """Memory, work and communication of one step.

    Attributes:
      name: Of `STEPS`.
      devices: Number of devices that it runs on.
      samples, images: Of one call.
      memory: On one device.
      flops: On all devices, recomputation included.
      model_flops: On all devices, recomputation excluded.
      exact: False if the trip count of a loop is known only at run time.
      accessed: Bytes that a device moves in main memory.
      collectives: What devices send each other.
      bound: The least time of a call.
      seconds: Of tracing and compiling.
    """

    name: str
    devices: int
    samples: int
    images: int
    memory: Memory
    flops: int
    model_flops: int
    exact: bool
    accessed: int
    collectives: tuple[Collective, ...]
    bound: Bound
    seconds: float


def build(
    config: RunConfig, devices: Sequence[jax.Device], sizes: Sizes
) -> tuple[Program, ViTConfig]:
    """The run's programs on a target's devices, and its encoder.

    Raises:
      ValueError: the config cannot be run on these devices.
    """
    mesh = config.make_mesh(devices)
    vit = config.encoder(initial_model(config))
    objective = make_objective(
        config, vit, sizes.n_genes(config), sizes.text_dim(config)
    )
    return make_program(config, objective, mesh), vit


def plan_steps(
    config: RunConfig,
    target: Target,
    devices: Sequence[jax.Device],
    host: Sequence[jax.Device] = (),
    *,
    sizes: Sizes = UNKNOWN,
    rows: int | None = None,
    steps: Sequence[str] = STEPS,
    report: Callable[[str], None] = lambda text: None,
) -> list[Step]:
    """Compiles the steps of a run.

    Args:
      config: From `config.load`.
      target, devices: Where it runs; devices may be those of a topology.
      host: Devices of `target.host`, for embeddings and probes. They must not be part of
        `devices`: TPU's compiler refuses a part of a pod.
      sizes: Of data that are not on this machine.
      rows: Samples that a probe is fitted on.
      steps: Which of `STEPS`.
      report: Called with what is being done.

    Raises:
      DoesNotFit: a step needs more memory than a device has.
      ValueError: the config cannot be run on these devices.
    """
    program, vit = build(config, devices, sizes)
    result = []
    with compiled_for("cpu" if target.chip.platform == "cpu" else "tpu"):
        # The estimate for GPUs is without their fused attention.
        for name in steps:
            report(f"compiling the {name} step for {target.name}")
            if name in ("train", "validation"):
                step = _run_step(name, config, program, target)
            elif name == "embedding":
                step = _embedding(config, vit, target, host or devices)
            else:
                step = _probe(vit, target, host or devices, rows or PROBE_ROWS)
            result.append(step)
    return result


def _run_step(name, config, program: Program, target: Target) -> Step:
    state, shardings = program.abstract_state()
    batch = program.abstract_batch()
    key = jax.eval_shape(lambda: jax.random.key(0))
    train = name == "train"
    step = program.train_step(shardings) if train else program.eval_step(shardings)
    kinds = {
        "parameters": state.params,
        "frozen": state.frozen,
        "optimiser": state.opt_state,
        "other state": state.extra,
        "batch": batch,
    }
    model = None
    if train and (config.model.get("remat") or config.optim.accumulate > 1):
        model = model_flops(program)
    images = ("image", "crops_global", "crops_local")
    parts = config.optim.accumulate
    rows = {config.data.batch // d for d in (1, parts)}
    return _measure(
        name,
        step,
        (state, batch, key),
        kinds,
        target=target,
        devices=program.mesh.size,
        dtype=config.model.get("dtype", "float32"),
        samples=config.data.batch,
        images=sum(batch[k].shape[0] * batch[k].shape[1] for k in images if k in batch),
        row_sizes=rows | {count * config.data.tiles for count in rows},
        model=model,
    )


def _embedding(config, vit: ViTConfig, target: Target, here) -> Step:
    """The step of `pathjax embed` on the devices of one process."""
    mesh = make_mesh(among=here)
    plain = vit.replace(lora=None, scan=False, remat=False)
    tiles = -(-EMBED_BATCH // len(here)) * len(here)
    px = config.data.image_px
    whole, rows = replicated(mesh), batch_sharding(mesh)
    params = jax.eval_shape(lambda: init_vit(plain, jax.random.key(0)))
    params = jax.tree.map(lambda leaf: _on(leaf, whole), params)
    image = _on(jax.ShapeDtypeStruct((tiles, px, px, 3), "uint8"), rows)
    return _measure(
        "embedding",
        make_embed_step(plain, mesh),
        (params, image),
        {"parameters": params, "batch": image},
        target=target,
        devices=len(here),
        dtype=plain.dtype,
        samples=tiles,
        images=tiles,
        row_sizes={tiles},
    )


def _probe(vit: ViTConfig, target: Target, here, samples: int) -> Step:
    """One device's share of the seeds of `linear/1`, with two classes."""
    seeds = -(-PROBE.seeds // min(len(here), PROBE.seeds))
    mesh = make_mesh(among=here[:1])
    whole = replicated(mesh)
    n, width, fits = bucket(samples), vit.embed_dim, PROBE.folds + 1

    def like(*shape, dtype="float32"):
        return _on(jax.ShapeDtypeStruct(shape, dtype), whole)

    weights = like(seeds, fits, n)
    arguments = (
        like(n, width),
        like(n, dtype="int32"),
        weights,
        weights,
        like(len(PROBE.l2)),
        like(n, width),
    )

    sweep = functools.partial(
        logistic.logistic_sweep,
        classes=2,
        balanced=PROBE.balanced,
        final=PROBE.folds,
        steps=PROBE.steps,
        tolerance=jnp.float32(PROBE.tolerance),
    )
    return _measure(
        "probe",
        jax.jit(sweep, in_shardings=whole, out_shardings=whole),
        arguments,
        {"batch": arguments},
        target=target,
        devices=1,
        dtype="float32",
        samples=samples,
        images=0,
        row_sizes=(),
    )


def _on(leaf, sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _measure(
    name,
    step,
    arguments,
    kinds: dict[str, Any],
    *,
    target: Target,
    devices: int,
    dtype: str,
    samples: int,
    images: int,
    row_sizes,
    model: Flops | None = None,
) -> Step:
    start = time.perf_counter()
    traced = step.trace(*arguments)
    flops = jaxpr_flops(traced.jaxpr)
    overflow = None
    limit = target.chip.memory
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        overflow = read_overflow(str(error))
        if overflow is None:
            raise
    else:
        sizes = {kind: device_bytes(tree) for kind, tree in kinds.items()}
        memory = read_memory(compiled, sizes)
        if limit is not None and memory.peak > limit:
            message = f"needs {memory.peak / 2**30:.2f} GiB of {limit / 2**30:.2f} GiB"
            overflow = Overflow(memory.peak, int(limit), (), message)
    if overflow is not None:
        values = largest_values(traced.jaxpr, devices, row_sizes)
        raise DoesNotFit(name, overflow, largest_leaves(kinds), values)
    module = parse(compiled.as_text())
    sent = tuple(collectives(module))
    accessed = bytes_accessed(module)
    needed = flops if model is None else model
    return Step(
        name=name,
        devices=devices,
        samples=samples,
        images=images,
        memory=memory,
        flops=flops.total,
        model_flops=needed.total,
        exact=flops.exact and needed.exact and all(item.exact for item in sent),
        accessed=accessed,
        collectives=sent,
        bound=bound(
            target.chip,
            devices,
            dtype=dtype,
            executed=flops.total,
            model=needed.total,
            accessed=accessed,
            sent=sent,
        ),
        seconds=time.perf_counter() - start,
    )
