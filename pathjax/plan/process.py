"""Makes a plan in a process of its own, in the environment that its target needs.

The number of simulated devices, the platform and libtpu's settings must be set before
JAX starts. The child is `python -m pathjax.plan.process ANSWER.json`, with the request
on standard input.
"""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pathjax.files import write_json
from pathjax.parallel.hardware import Target, TargetError, parse_target
from pathjax.plan import PlanError


def make_plan(
    request: dict[str, Any], report: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Runs a request in a process of its own; see `answer`.

    Args:
      request: what to plan.
      report: called with each line of progress.

    Raises:
      PlanError: the request is refused by name, or the process died.
      TargetError: there is no such target.
    """
    target = parse_target(request["target"])
    if target.chip.platform == "tpu" and importlib.util.find_spec("libtpu") is None:
        raise PlanError(
            f"target {target.name} needs TPU's compiler, libtpu, which is not "
            "installed: pip install 'pathjax[plan]' (no TPU is needed)"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.json"
        with subprocess.Popen(
            [sys.executable, "-m", "pathjax.plan.process", str(path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(target),
        ) as worker:
            worker.stdin.write(json.dumps(request))
            worker.stdin.close()
            tail: list[str] = []
            for line in worker.stderr:
                tail = [*tail[-20:], line]
                if line.startswith(("compiling", "trying")):
                    report(line.strip())
        if not path.exists():
            raise PlanError(
                f"the compiler's process ended with status {worker.returncode} and no "
                f"answer:\n{''.join(tail)}"
            )
        found = json.loads(path.read_text(encoding="utf-8"))
    if "error" in found:
        raise PlanError(f"{found['error']['message']}")
    return found


def environment(target: Target) -> dict[str, str]:
    """This process's environment with what the target needs."""
    found = dict(os.environ)
    # A TPU that happens to be here is left alone: its compiler needs no device.
    found["JAX_PLATFORMS"] = "cpu"
    # Programs for devices that are not here cannot be loaded from the cache.
    found.pop("JAX_COMPILATION_CACHE_DIR", None)
    if target.chip.platform == "tpu":
        # No questions to a cloud's metadata server, and no warnings that none answers.
        found["TPU_SKIP_MDS_QUERY"] = "1"
        # Compiling takes no TPU, so several plans may be made at once.
        found["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
        found.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-1")
        found.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    else:
        flag = "--xla_force_host_platform_device_count"
        others = [
            word for word in found.get("XLA_FLAGS", "").split() if flag not in word
        ]
        found["XLA_FLAGS"] = " ".join([*others, f"{flag}={target.devices}"])
    return found


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """A plan, what does not fit and what would, or a named error.

    Args:
      request: `config`, `overrides`, `target`, `genes`, `text_dim`, `rows`,
        `steps`, `tries`.
    """
    import jax
    import jaxlib

    from pathjax.config import load
    from pathjax.plan.inputs import Sizes, training_samples
    from pathjax.plan.remedies import find_remedies
    from pathjax.plan.steps import DoesNotFit, plan_steps

    target = parse_target(request["target"])
    config = load(request["config"], request["overrides"])
    devices = target_devices(target)
    if len(devices) != target.devices:
        raise RuntimeError(
            f"{target.name} has {target.devices} devices, and its topology shows "
            f"{len(devices)}: this libtpu counts them differently"
        )
    versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
    versions |= (
        {"libtpu": importlib.metadata.version("libtpu")}
        if target.chip.platform == "tpu"
        else {}
    )
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
    options = {"sizes": sizes, "report": _report}
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


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    request = json.load(sys.stdin)
    try:
        found = answer(request)
    except (ValueError, OSError, RuntimeError) as error:
        found = {"error": {"kind": type(error).__name__, "message": str(error)}}
    write_json(Path(sys.argv[1]), found)


if __name__ == "__main__":
    main()
