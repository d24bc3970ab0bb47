"""The process in which a plan is made: request on standard input, answer in a file.

It is one of its own since the number of simulated devices, the platform and libtpu's
settings have to stand before JAX starts. `python -m pathjax.plan.worker ANSWER.json`.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from pathjax.files import write_json


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """A plan, what does not fit and what would, or a named error.

    Args:
      request: `config`, `overrides`, `target`, `genes`, `text_dim`, `rows`,
        `steps`, `tries`.
    """
    import jax
    import jaxlib

    from pathjax.config import load
    from pathjax.parallel.hardware import parse_target
    from pathjax.plan.inputs import Sizes, training_samples
    from pathjax.plan.remedies import find_remedies
    from pathjax.plan.steps import DoesNotFit, plan_steps

    def told(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    target = parse_target(request["target"])
    config = load(request["config"], request["overrides"])
    devices = target_devices(target)
    if len(devices) != target.devices:
        raise RuntimeError(
            f"{target.name} has {target.devices} devices, and its topology shows "
            f"{len(devices)}: this libtpu counts them differently"
        )
    versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
    versions |= {"libtpu": libtpu_version()} if target.chip.platform == "tpu" else {}
    found: dict[str, Any] = {
        "target": target.name,
        "chips": target.chips,
        "devices": target.devices,
        "chip": dataclasses.asdict(target.chip),
        "basis": basis(target),
        "versions": versions,
        "config": config.to_dict(),
        "train_samples": training_samples(config),
    }
    sizes = Sizes(request["genes"], request["text_dim"])
    options = {"sizes": sizes, "told": told}
    try:
        steps = plan_steps(
            config,
            target,
            devices,
            target_devices(target.host),
            rows=request["rows"],
            steps=request["steps"],
            **options,
        )
    except DoesNotFit as error:
        remedies = []
        if error.step == "train":
            remedies = find_remedies(
                config, target, devices, error, tries=request["tries"], **options
            )
        return found | {
            "does_not_fit": {
                "step": error.step,
                "overflow": dataclasses.asdict(error.overflow),
                "arguments": error.arguments,
                "values": error.values,
                "remedies": [dataclasses.asdict(one) for one in remedies],
            }
        }
    return found | {"steps": [as_json(one) for one in steps]}


def as_json(step: Any) -> dict[str, Any]:
    """A step with what its properties say."""
    found = dataclasses.asdict(step)
    found["memory"]["peak"] = step.memory.peak
    for entry, one in zip(found["collectives"], step.collectives, strict=True):
        entry |= {"size": one.size, "moved_bytes": one.moved_bytes}
    return found


def basis(target: Any) -> str:
    """Where the figures come from."""
    if target.chip.platform == "tpu":
        return "compiled by libtpu for this topology; memory is the compiler's own"
    if target.chip.platform == "gpu":
        return (
            "ESTIMATE: compiled by XLA's CPU compiler for as many simulated devices, "
            "since no compiler for this GPU is here; without fused attention"
        )
    return "compiled by XLA's CPU compiler for simulated devices"


def target_devices(target: Any) -> list[Any]:
    """Devices to compile for; a TPU's are those of a topology, and not here.

    Raises:
      TargetError: the topology does not exist.
    """
    import jax

    from pathjax.parallel.hardware import TargetError

    if target.chip.platform != "tpu":
        return jax.devices()[: target.devices]
    from jax.experimental import topologies

    try:
        found = topologies.get_topology_desc(target.name, "tpu")
    except jax.errors.JaxRuntimeError as error:
        raise TargetError(
            f"target {target.name}: libtpu knows no such shape ({error}); shapes are "
            f"listed at {target.chip.source.split(';')[0]}"
        ) from None
    return list(found.devices)


def libtpu_version() -> str:
    from importlib import metadata

    return metadata.version("libtpu")


def main() -> None:
    request = json.load(sys.stdin)
    try:
        found = answer(request)
    except (ValueError, OSError, RuntimeError) as error:
        found = {"error": {"kind": type(error).__name__, "message": str(error)}}
    write_json(Path(sys.argv[1]), found)


if __name__ == "__main__":
    main()
