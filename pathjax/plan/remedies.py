"""What would fit, when a job does not: changes to the config, each tried by compiling.

Cheapest first: compute activations again in place of keeping them, divide parameters
and moments over more chips, take the batch in parts, and only then a smaller batch,
which is another run.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from pathjax.config import override, validate
from pathjax.plan.chips import Target
from pathjax.plan.memory import device_bytes
from pathjax.plan.steps import DoesNotFit, Step, build, plan_steps

# Of the memory, that state may take before it is divided further.
STATE_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Remedy:
    """A change that was tried.

    Attributes:
      flags: of the command line.
      fits: whether it compiled within the memory.
      peak: bytes on a device that it needs, as far as the compiler told.
      note: what it costs, or why it does not fit.
    """

    flags: tuple[str, ...]
    fits: bool
    peak: int | None
    note: str


def find_remedies(
    config: ConfigDict,
    target: Target,
    devices: Sequence[jax.Device],
    refused: DoesNotFit,
    *,
    genes: int | None,
    tries: int,
    told: Callable[[str], None] = lambda text: None,
) -> list[Remedy]:
    """Tries changes until one with the same batch fits, or the tries are used up.

    The last try is always a smaller batch, if no other change fitted.
    """
    found: list[Remedy] = []
    limit = refused.overflow.limit or target.chip.memory
    for changes, note in _candidates(config, devices, refused, limit, genes, tries):
        flags = tuple(
            f"--config.{key}={_text(value)}" for key, value in changes.items()
        )
        told(f"trying {' '.join(flags)}")
        remedy = _try(config, changes, note, flags, target, devices, genes)
        found.append(remedy)
        if remedy.fits:
            break
    return found


def _try(config, changes, note, flags, target, devices, genes) -> Remedy:
    changed = changed_config(config, changes)
    try:
        (step,) = plan_steps(changed, target, devices, genes=genes, steps=("train",))
    except DoesNotFit as error:
        return Remedy(flags, False, error.overflow.needed, error.overflow.message)
    except ValueError as error:
        return Remedy(flags, False, None, str(error).replace("\n", " "))
    return Remedy(flags, True, step.memory.peak, _cost(step, note))


def _cost(step: Step, note: str) -> str:
    if step.bound.seconds is None:
        return note
    return f"{note}; at least {step.bound.seconds:.3g} s a step"


def changed_config(config: ConfigDict, changes: dict[str, Any]) -> ConfigDict:
    """A copy with dotted keys set, validated."""
    changed = config.copy_and_resolve_references()
    changed.unlock()
    override(changed, changes)
    validate(changed)
    return changed.lock()


def _candidates(
    config, devices, refused: DoesNotFit, limit, genes, tries
) -> Iterator[tuple[dict[str, Any], str]]:
    count, batch = len(devices), config.data.batch
    changes: dict[str, Any] = {}
    notes: list[str] = []
    kept = []
    if config.adapt.mode != "towers" and not config.model.get("remat"):
        changes["model.remat"] = True
        notes.append("each block is computed twice")
        kept.append((dict(changes), ", ".join(notes)))
    fsdp = _wider_fsdp(config, devices, limit, genes)
    if fsdp is not None:
        changes["mesh.fsdp"] = fsdp
        notes.append(f"parameters are gathered over {fsdp} chips")
        kept.append((dict(changes), ", ".join(notes)))
    # Temporaries go with the rows that are in flight at once.
    needed = refused.overflow.needed
    factor = max(2, -(-needed // int(limit * 0.8))) if needed and limit else 2
    now = config.optim.accumulate
    most = batch // count
    parts = [p for p in _divisors(most) if p > now]
    fitting = [p for p in parts if p >= now * factor] or parts[-1:]
    wanted = list(dict.fromkeys([*_first(parts), *fitting[:2], *parts[-1:]]))
    # Remat alone often saves more than the factor asks, so that fewer parts do.
    if config.objective.name != "dino" or not config.model.get("remat"):
        for part in wanted:
            more = f"the batch in {part} parts, each encoded twice"
            kept.append(
                (changes | {"optim.accumulate": part}, ", ".join([*notes, more]))
            )
    smaller = batch
    while smaller % 2 == 0 and smaller // 2 >= count:
        smaller //= 2
        if batch // smaller >= factor or smaller == count:
            break
    if smaller < batch:
        parts_left = {"optim.accumulate": 1} if now > 1 else {}
        last = (
            changes | parts_left | {"data.batch": smaller},
            ", ".join([*notes, "another batch: fewer negatives, other learning rate"]),
        )
        kept = kept[: max(tries - 1, 0)] + [last]
    yield from kept[:tries]


def _first(parts: list[int]) -> list[int]:
    return parts[:1]


def _wider_fsdp(config, devices, limit, genes) -> int | None:
    """The least fsdp that leaves half of the memory to other things; None as it is."""
    if limit is None:
        return None
    now = config.mesh.fsdp
    for fsdp in [d for d in _divisors(len(devices)) if d >= now]:
        wider = changed_config(config, {"mesh.fsdp": fsdp, "mesh.data": -1})
        program, _ = build(wider, devices, genes)
        state, _ = program.abstract_state()
        if device_bytes(state) <= STATE_SHARE * limit:
            break
    return fsdp if fsdp > now else None


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
