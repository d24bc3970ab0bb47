"""Starts the process that makes a plan, in the environment that its target needs."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pathjax.parallel.hardware import Target, parse_target


class PlanError(RuntimeError):
    """A plan that could not be made; the message says why."""


def make_plan(
    request: dict[str, Any], told: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Runs a request in a process of its own; see `worker.answer`.

    Args:
      request: what to plan.
      told: called with each line of progress.

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
            [sys.executable, "-m", "pathjax.plan.worker", str(path)],
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
                    told(line.strip())
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
