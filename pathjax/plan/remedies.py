"""Changes to a config that make a job fit, each tried by compiling.

Cheapest first: rematerialise activations, shard parameters and moments over more chips,
accumulate gradients, and only then a smaller batch, which is a different run.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax

from pathjax.config import RunConfig
from pathjax.parallel.hardware import Target
from pathjax.plan.inputs import Sizes
from pathjax.plan.memory import device_bytes
from pathjax.plan.steps import DoesNotFit, build, plan_steps

# Config values and their cost; None if there is nothing to change.
Change = tuple[dict[str, Any], str] | None
STATE_SHARE = 0.5  # of the memory that the state may take before it is sharded further
# Of the memory that a smaller batch or part aims at: not everything scales with the rows.
TEMPORARY_SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A change that was tried.

    Attributes:
      flags: For the command line.
      fits: Whether it compiled within the memory.
      peak: Bytes that it needs on a device; None if the compiler does not say.
      note: Its cost, or why it does not fit.
    """

    flags: tuple[str, ...]
    fits: bool
    peak: int | None
    note: str


def find_remedies(
    config: RunConfig,
    target: Target,
    devices: Sequence[jax.Device],
    refused: DoesNotFit,
    *,
    sizes: Sizes,
    tries: int,
    report: Callable[[str], None] = lambda text: None,
) -> list[Remedy]:
    """Tries changes, each on top of the previous ones, until one fits.

    Args:
      config, target, devices, sizes: As in `plan_steps`.
      refused: From `plan_steps`.
      tries: Limit of compilations; the last one tries a smaller batch.
      report: Called with what is being tried.
    """
    tried: list[Remedy] = []
    limit = refused.overflow.limit or target.chip.memory
    needed = refused.overflow.needed
    changes: dict[str, Any] = {}
    notes: list[str] = []
    for number in range(tries):
        now = config.replace(changes)
        excess = needed / limit if needed and limit else 2.0
        change = None
        if number < tries - 1:
            change = (
                _remat(now)
                or _wider_fsdp(now, devices, limit, sizes)
                or _more_parts(now, devices, excess)
            )
        change = change or _smaller_batch(now, devices, excess)
        if change is None:
            break
        changes |= change[0]
        notes.append(change[1])
        words = {k: str(v).lower() if v is True else v for k, v in changes.items()}
        flags = tuple(f"--config.{key}={value}" for key, value in words.items())
        report(f"trying {' '.join(flags)}")
        try:
            (step,) = plan_steps(
                config.replace(changes), target, devices, sizes=sizes, steps=("train",)
            )
        except DoesNotFit as error:
            needed = error.overflow.needed
            tried.append(Remedy(flags, False, needed, error.overflow.message))
        except ValueError as error:
            needed = None
            tried.append(Remedy(flags, False, None, str(error).replace("\n", " ")))
        else:
            if step.bound.seconds is not None:
                notes.append(f"at least {step.bound.seconds:.3g} s a step")
            tried.append(Remedy(flags, True, step.memory.peak, "; ".join(notes)))
            break
    return tried


def _remat(config: RunConfig) -> Change:
    if config.model.get("remat") or config.adapt.mode == "towers":
        return None
    return {"model.remat": True}, "blocks are computed twice"


def _wider_fsdp(config: RunConfig, devices, limit, sizes) -> Change:
    """The least fsdp with which the state takes at most STATE_SHARE of the memory."""
    if limit is None:
        return None
    now = fsdp = config.mesh.fsdp
    for fsdp in (d for d in _divisors(len(devices)) if d >= now):
        wider = config.replace({"mesh.fsdp": fsdp, "mesh.data": -1})
        program, _ = build(wider, devices, sizes)
        state, _ = program.abstract_state()
        if device_bytes(state) <= STATE_SHARE * limit:
            break
    if fsdp == now:
        return None
    changes = {"mesh.fsdp": fsdp} | ({"mesh.data": -1} if config.mesh.data > 0 else {})
    return changes, f"parameters are gathered over {fsdp} devices"


def _more_parts(config: RunConfig, devices, excess: float) -> Change:
    """Parts of the batch small enough that their temporaries fit."""
    now = config.optim.accumulate
    possible = [d for d in _divisors(config.data.batch // len(devices)) if d > now]
    if not possible:
        return None
    least = now * excess / TEMPORARY_SHARE
    parts = next((part for part in possible if part >= least), possible[-1])
    note = f"the batch passes the encoders in {parts} parts, twice"
    return {"optim.accumulate": parts}, note


def _smaller_batch(config: RunConfig, devices, excess: float) -> Change:
    """Half, a quarter, ... of the batch."""
    unit = len(devices) * config.optim.accumulate
    batch = config.data.batch
    while batch % (2 * unit) == 0:
        batch //= 2
        if config.data.batch / batch >= excess / TEMPORARY_SHARE:
            break
    if batch == config.data.batch:
        return None
    return {"data.batch": batch}, "a different batch, so a different run"


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
