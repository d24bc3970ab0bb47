"""`pathjax bench scale`: the training step on one device, two, four, ... of a machine.

    pathjax bench scale [--config.scaling=strong] [--config.devices=8] [--out FILE]

All sizes share one process, because only one can hold a TPU, and take turns. The
efficiency of n devices is the ratio to one device, divided by n. On a CPU the devices are
simulated and share its cores: rates mean nothing there, bytes do. For several machines
see the metrics of a run (docs/observability.md).
"""

import contextlib
import dataclasses
from typing import Any

from pathjax.bench import step
from pathjax.bench.options import BenchError, Entry
from pathjax.bench.worker import Contestant, obey

SCALINGS = ("weak", "strong")


@dataclasses.dataclass(frozen=True)
class Options(step.Options):
    """Scaling; contestants and peers do not apply.

    Attributes:
      batch: Samples per device ("weak"), or in total ("strong").
      scaling: Whether more devices get more samples, or share the same ones.
      devices: The most to use; 0 uses all, and simulates 8 on a CPU.
      dtype: Of the encoder's arithmetic.
    """

    scaling: str = "weak"
    devices: int = 0
    dtype: str = "bfloat16"


class Local:
    """A contestant in this process, with the interface of `runner.Worker`."""

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

    from pathjax.parallel.mesh import AXES

    # JAX may have started already; then its number of devices stays.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", options.devices or 8)
    available = jax.device_count()
    most = options.devices or available
    if most > available:
        raise BenchError(f"devices={most}: expected at most {available}")
    sizes = [n for n in (1 << k for k in range(most.bit_length())) if n <= most]
    if options.scaling == "strong" and options.batch % sizes[-1]:
        raise BenchError(
            f"batch={options.batch} does not divide over {sizes[-1]} devices"
        )
    workers = {}
    for n in sizes:
        batch = options.batch * n if options.scaling == "weak" else options.batch
        values = dataclasses.asdict(options) | {"batch": batch, "attention": "auto"}
        for kind in ("data", "fsdp") if n > 1 else ("data",):
            mesh = jax.make_mesh(
                (n, 1) if kind == "data" else (1, n),
                AXES,
                devices=jax.devices()[:n],
                axis_types=(jax.sharding.AxisType.Auto,) * 2,
            )
            contestant = step.Step(values, mesh)
            contestant.info |= {"devices": n, "mesh": kind, "batch": batch}
            label = f"{n} device{'s' * (n > 1)}, {kind}"
            entry = Entry(f"{n}-{kind}", label, "", values)
            workers[entry.name] = Local(entry, contestant)
    return workers


def summary(result: dict[str, Any]) -> list[str]:
    """Efficiency and bytes by size; adds `efficiency` to the result's contestants."""
    ratios = {r["to"]: r["rounds"] for r in result["ratios"] if r["of"] == "1-data"}
    lines = []
    for name, row in result["contestants"].items():
        each = sorted(1 / ratio / row["devices"] for ratio in ratios.get(name, [1.0]))
        row["efficiency"] = each
        size = row["arguments_bytes"] + row["temporaries_bytes"]
        lines.append(
            f"{row['label']}, batch {row['batch']}: efficiency "
            f"{each[len(each) // 2]:.2f} ({each[0]:.2f} to {each[-1]:.2f}), "
            f"{size / 2**20:.0f} MiB per device"
        )
    if result["contestants"]["1-data"]["device"].startswith("cpu"):
        lines.append(
            f"the devices are simulated and share {result['machine']['cores']} cores: "
            "efficiency means nothing here, bytes do"
        )
    return lines
