"""`pathjax bench scale`: the training step on one device, two, four, ... of a machine.

    pathjax bench scale [--config.scaling=strong] [--config.devices=8] [--out FILE]

All sizes share one process, because a TPU belongs to one, and take turns. The efficiency
of n devices is the ratio to one device, divided by n. On a CPU the devices are simulated
and share its cores: rates mean nothing there, bytes do. For several machines see the
metrics of a run (docs/observability.md).
"""

import dataclasses
from typing import Any

from pathjax.bench import step
from pathjax.bench.options import BenchError
from pathjax.bench.runner import Entry
from pathjax.bench.worker import Contestant, obey

SCALINGS = ("weak", "strong")


@dataclasses.dataclass(frozen=True)
class Options(step.Options):
    """Scaling; contestants and peers do not apply.

    Attributes:
      batch: Samples per device ("weak"), or in all ("strong").
      scaling: Whether more devices get more samples, or share the same ones.
      devices: The most to use; 0 takes all there are, and simulates 8 on a CPU.
      dtype: Of the encoder's arithmetic.
    """

    scaling: str = "weak"
    devices: int = 0
    dtype: str = "bfloat16"


class Local:
    """A contestant of this process, with a worker's interface."""

    ready_seconds = 0.0

    def __init__(self, entry: Entry, contestant: Contestant):
        self.entry, self.info = entry, contestant.info
        self.peak_bytes, self._contestant = 0, contestant

    def ask(self, do: str, count: int = 0) -> dict[str, Any]:
        if do == "matrix":
            return {"gflops": {}}
        answer = obey(self._contestant, do, count)
        self.peak_bytes = max(self.peak_bytes, answer["peak_bytes"])
        return answer


def local_workers(options: Options) -> dict[str, Local]:
    """A warm step for each number of devices and kind of mesh, by name.

    Raises:
      BenchError: options that do not fit each other or the devices.
    """
    if options.scaling not in SCALINGS:
        raise BenchError(f"scaling={options.scaling}: expected {' or '.join(SCALINGS)}")
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", options.devices or 8)
    except RuntimeError:  # JAX runs already, with as many as somebody chose
        pass
    there = jax.device_count()
    most = options.devices or there
    if most > there:
        raise BenchError(f"devices={most}: expected at most {there}, as there are")
    sizes = [n for n in (1 << k for k in range(most.bit_length())) if n <= most]
    if options.scaling == "strong" and options.batch % sizes[-1]:
        raise BenchError(
            f"batch={options.batch} does not divide over {sizes[-1]} devices"
        )
    workers = {}
    for n in sizes:
        for kind in ("data", "fsdp") if n > 1 else ("data",):
            name = f"{n}-{kind}"
            label = f"{n} device{'s' * (n > 1)}, {kind}"
            entry = Entry(name, label, "", dataclasses.asdict(options))
            workers[name] = Local(entry, _step(jax, options, n, kind))
    return workers


def _step(jax: Any, options: Options, n: int, kind: str) -> step.Step:
    """A warm step on the first `n` devices."""
    from pathjax.parallel.mesh import AXES

    mesh = jax.make_mesh(
        (n, 1) if kind == "data" else (1, n),
        AXES,
        devices=jax.devices()[:n],
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
    )
    rows = options.batch * n if options.scaling == "weak" else options.batch
    values = dataclasses.asdict(options) | {"batch": rows, "attention": "auto"}
    contestant = step.Step(values, mesh)
    contestant.info |= {"devices": n, "mesh": kind, "batch": rows}
    return contestant


def summary(result: dict[str, Any]) -> list[str]:
    """Efficiency and bytes by size, in words; adds `efficiency` to the result."""
    ratios = {
        ratio["to"]: ratio for ratio in result["ratios"] if ratio["of"] == "1-data"
    }
    lines = []
    for name, one in result["contestants"].items():
        n = one["devices"]
        rounds = ratios[name]["rounds"] if name in ratios else [1.0]
        each = sorted(1 / ratio / n for ratio in rounds)
        one["efficiency"] = each
        size = one["arguments_bytes"] + one["temporaries_bytes"]
        lines.append(
            f"{one['label']}, batch {one['batch']}: efficiency {each[len(each) // 2]:.2f} "
            f"({each[0]:.2f} to {each[-1]:.2f}), {size / 2**20:.0f} MiB a device"
        )
    if next(iter(result["contestants"].values()))["device"].startswith("cpu"):
        lines.append(
            f"the devices are simulated and share {result['machine']['cores']} cores: "
            "efficiency means nothing here, bytes do"
        )
    return lines
