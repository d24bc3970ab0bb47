"""The steps of a run, compiled for a target with abstract arrays, and measured.

Nothing is allocated and nothing runs: states and batches are shapes with shardings. The
training and validation steps are those of train/program.py, which `train` runs too; the
embedding step is embeddings/embed.py's, the probe evals/probes/logistic.py's.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection, Sequence
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
from pathjax.plan.inputs import Sizes, has_unmeasured, initial_model, resources
from pathjax.plan.memory import (
    Buffers,
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
IMAGES = ("image", "crops_global", "crops_local")
UNKNOWN = Sizes()


class DoesNotFit(Exception):
    """A step needs more memory than a device has.

    Attributes:
      step: Its name.
      overflow: The compiler's report.
      arguments, values: The largest arrays given and computed.
    """

    def __init__(
        self, step: str, overflow: Overflow, arguments: Buffers, values: Buffers
    ):
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
      flops, model_flops: On all devices, recomputation included and excluded.
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


@dataclasses.dataclass(frozen=True)
class _Call:
    """A jitted step and the abstract arguments to compile it for.

    Attributes:
      step, arguments: What is compiled.
      kinds: Arguments by kind, for the report.
      devices, dtype: Number of devices, and dtype of the products.
      samples, images: Of one call.
      row_sizes: Lengths of axes that are divided over the devices.
      model: FLOPs without recomputation, if different.
    """

    step: Any
    arguments: tuple
    kinds: dict[str, Any]
    devices: int
    dtype: str
    samples: int
    images: int = 0
    row_sizes: Collection[int] = ()
    model: Flops | None = None


def build(
    config: RunConfig, devices: Sequence[jax.Device], sizes: Sizes
) -> tuple[Program, ViTConfig]:
    """The run's programs on a target's devices, and its encoder.

    Raises:
      ValueError: the config cannot be run on these devices.
    """
    mesh = config.make_mesh(devices)
    vit = config.encoder(initial_model(config))
    genes = sizes.n_genes(config)
    objective = make_objective(
        config,
        vit,
        n_genes=genes,
        text_dim=sizes.text_dim(config),
        partial=has_unmeasured(config),
        gene_variance=(1.0,) * genes,  # the data's are unknown; shapes are the same
        resources=resources(config),
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
    host = host or devices
    calls = {
        "train": lambda: _run_step(config, program, train=True),
        "validation": lambda: _run_step(config, program, train=False),
        "embedding": lambda: _embedding(config, vit, host),
        "probe": lambda: _probe(vit, host, rows or PROBE_ROWS),
    }
    result = []
    # The estimate for GPUs is without their fused attention.
    with compiled_for("cpu" if target.chip.platform == "cpu" else "tpu"):
        for name in steps:
            report(f"compiling the {name} step for {target.name}")
            result.append(_measure(name, calls[name](), target))
    return result


def _run_step(config: RunConfig, program: Program, *, train: bool) -> _Call:
    state, shardings = program.abstract_state()
    batch = program.abstract_batch()
    key = jax.eval_shape(lambda: jax.random.key(0))
    model = None
    if train and (config.model.get("remat") or config.optim.accumulate > 1):
        model = model_flops(program)
    rows = {config.data.batch // parts for parts in (1, config.optim.accumulate)}
    return _Call(
        program.train_step(shardings) if train else program.eval_step(shardings),
        (state, batch, key),
        {
            "parameters": state.params,
            "frozen": state.frozen,
            "optimiser": state.opt_state,
            "other state": state.extra,
            "batch": batch,
        },
        program.mesh.size,
        config.model.get("dtype", "float32"),
        samples=config.data.batch,
        images=sum(batch[k].shape[0] * batch[k].shape[1] for k in IMAGES if k in batch),
        row_sizes=rows | {count * config.data.tiles for count in rows},
        model=model,
    )


def _embedding(config: RunConfig, vit: ViTConfig, devices) -> _Call:
    """The step of `pathjax embed` on the devices of one process."""
    mesh = make_mesh(among=devices)
    plain = vit.replace(lora=None, scan=False, remat=False)
    tiles = -(-EMBED_BATCH // len(devices)) * len(devices)
    px = config.data.image_px
    params = jax.eval_shape(lambda: init_vit(plain, jax.random.key(0)))
    params = jax.tree.map(lambda leaf: _on(leaf, replicated(mesh)), params)
    image = jax.ShapeDtypeStruct((tiles, px, px, 3), "uint8")
    image = _on(image, batch_sharding(mesh))
    return _Call(
        make_embed_step(plain, mesh),
        (params, image),
        {"parameters": params, "batch": image},
        len(devices),
        plain.dtype,
        samples=tiles,
        images=tiles,
        row_sizes={tiles},
    )


def _probe(vit: ViTConfig, devices, samples: int) -> _Call:
    """One device's share of the seeds of `linear/1`, with two classes."""
    seeds = -(-PROBE.seeds // min(len(devices), PROBE.seeds))
    whole = replicated(make_mesh(among=devices[:1]))
    n, width, fits = bucket(samples), vit.embed_dim, PROBE.folds + 1

    def like(*shape, dtype="float32"):
        return _on(jax.ShapeDtypeStruct(shape, dtype), whole)

    weights, features = like(seeds, fits, n), like(n, width)
    labels, penalties = like(n, dtype="int32"), like(len(PROBE.l2))
    arguments = (features, labels, weights, weights, penalties, features)
    sweep = functools.partial(
        logistic.logistic_sweep,
        classes=2,
        balanced=PROBE.balanced,
        final=PROBE.folds,
        steps=PROBE.steps,
        tolerance=jnp.float32(PROBE.tolerance),
    )
    step = jax.jit(sweep, in_shardings=whole, out_shardings=whole)
    return _Call(step, arguments, {"batch": arguments}, 1, "float32", samples)


def _on(leaf, sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _measure(name: str, call: _Call, target: Target) -> Step:
    """Compiles a step; raises DoesNotFit if it needs too much memory."""
    start = time.perf_counter()
    traced = call.step.trace(*call.arguments)
    flops = jaxpr_flops(traced.jaxpr)
    overflow, limit = None, target.chip.memory
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        overflow = read_overflow(str(error))
        if overflow is None:
            raise
    else:
        sizes = {kind: device_bytes(tree) for kind, tree in call.kinds.items()}
        memory = read_memory(compiled, sizes)
        if limit is not None and memory.peak > limit:
            message = f"needs {memory.peak / 2**30:.2f} GiB of {limit / 2**30:.2f} GiB"
            overflow = Overflow(memory.peak, int(limit), [], message)
    if overflow is not None:
        values = largest_values(traced.jaxpr, call.devices, call.row_sizes)
        raise DoesNotFit(name, overflow, largest_leaves(call.kinds), values)
    module = parse(compiled.as_text())
    sent = tuple(collectives(module))
    accessed = bytes_accessed(module)
    model = call.model or flops
    return Step(
        name=name,
        devices=call.devices,
        samples=call.samples,
        images=call.images,
        memory=memory,
        flops=flops.total,
        model_flops=model.total,
        exact=flops.exact and model.exact and all(item.exact for item in sent),
        accessed=accessed,
        collectives=sent,
        bound=bound(
            target.chip,
            call.devices,
            dtype=call.dtype,
            executed=flops.total,
            model=model.total,
            accessed=accessed,
            sent=sent,
        ),
        seconds=time.perf_counter() - start,
    )
