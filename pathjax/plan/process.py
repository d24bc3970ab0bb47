"""Makes a plan in a process of its own, with the environment that its target needs.

Platform, number of simulated devices and libtpu's settings must be set before JAX starts.
The child is `python -m pathjax.plan.process ANSWER.json`, with the request on standard
input.
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

# Where the figures come from, by platform.
BASIS = {
    "tpu": "compiled by libtpu for this topology; memory is the compiler's own",
    "gpu": "ESTIMATE: compiled by XLA's CPU compiler for as many simulated devices, "
    "since there is no compiler for this GPU here; without fused attention",
    "cpu": "compiled by XLA's CPU compiler for simulated devices",
}


def make_plan(
    request: dict[str, Any], report: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Runs a request in a process of its own; see `answer`.

    Args:
      request: What to plan.
      report: Called with each line of progress.

    Raises:
      PlanError: the request cannot be planned, or the process died.
      TargetError: an unknown target.
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
        plan = json.loads(path.read_text(encoding="utf-8"))
    if "error" in plan:
        raise PlanError(plan["error"])
    return plan


def environment(target: Target) -> dict[str, str]:
    """This process's environment with what the target needs."""
    environ = dict(os.environ)
    # Leave a TPU of this machine alone: its compiler needs no device.
    environ["JAX_PLATFORMS"] = "cpu"
    # Programs for absent devices cannot be loaded from the cache.
    environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    if target.chip.platform == "tpu":
        # Do not query a cloud's metadata server, nor warn that none answers.
        environ["TPU_SKIP_MDS_QUERY"] = "1"
        # Compiling holds no TPU, so several plans may be made at once.
        environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
        environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-1")
        environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    else:
        flag = "--xla_force_host_platform_device_count"
        words = environ.get("XLA_FLAGS", "").split()
        others = [word for word in words if flag not in word]
        environ["XLA_FLAGS"] = " ".join([*others, f"{flag}={target.devices}"])
    return environ


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """A plan, or what does not fit and what would.

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
        raise PlanError(
            f"expected {target.devices} devices of {target.name}, got {len(devices)} from "
            "this version of libtpu"
        )
    versions = {"jax": jax.__version__, "jaxlib": jaxlib.__version__}
    if target.chip.platform == "tpu":
        versions["libtpu"] = importlib.metadata.version("libtpu")
    plan: dict[str, Any] = {
        "target": target.name,
        "chips": target.chips,
        "devices": target.devices,
        "chip": dataclasses.asdict(target.chip),
        "basis": BASIS[target.chip.platform],
        "versions": versions,
        "config": config.to_dict(),
        "train_samples": training_samples(config),
    }
    options = {
        "sizes": Sizes(request["genes"], request["text_dim"]),
        "report": lambda text: print(text, file=sys.stderr, flush=True),
    }
    host = target_devices(target.host)
    rows, steps = request["rows"], request["steps"]
    try:
        result = plan_steps(
            config, target, devices, host, rows=rows, steps=steps, **options
        )
    except DoesNotFit as error:
        remedies = []
        if error.step == "train":
            remedies = find_remedies(
                config, target, devices, error, tries=request["tries"], **options
            )
        refusal = {
            "step": error.step,
            "overflow": dataclasses.asdict(error.overflow),
            "arguments": error.arguments,
            "values": error.values,
            "remedies": [dataclasses.asdict(remedy) for remedy in remedies],
        }
        return plan | {"does_not_fit": refusal}
    return plan | {"steps": [as_json(step) for step in result]}


def as_json(step: Any) -> dict[str, Any]:
    """A step's fields, with its computed properties."""
    values = dataclasses.asdict(step)
    values["memory"]["peak"] = step.memory.peak
    for entry, item in zip(values["collectives"], step.collectives, strict=True):
        entry |= {"size": item.size, "moved_bytes": item.moved_bytes}
    return values


def target_devices(target: Target) -> list[Any]:
    """Devices to compile for; a TPU's are those of a topology.

    Raises:
      TargetError: the topology does not exist.
    """
    import jax

    if target.chip.platform != "tpu":
        return jax.devices()[: target.devices]
    from jax.experimental import topologies

    try:
        topology = topologies.get_topology_desc(target.name, "tpu")
    except jax.errors.JaxRuntimeError as error:
        raise TargetError(
            f"target {target.name}: unknown to libtpu ({error}); see the shapes at "
            f"{target.chip.source.split(';')[0]}"
        ) from None
    return list(topology.devices)


def main() -> None:
    """Plans what the parent asks for on standard input."""
    request = json.load(sys.stdin)
    try:
        plan = answer(request)
    except (ValueError, OSError, RuntimeError) as error:
        plan = {"error": str(error)}
    write_json(Path(sys.argv[1]), plan)


if __name__ == "__main__":
    main()
