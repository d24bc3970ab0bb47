"""`pathjax bench scale`: the training step on one device, two, four, ... of a machine.

    pathjax bench scale [--config.scaling=strong] [--config.devices=8] [--out FILE]

The step is that of `bench step`. All sizes live in one process, because a TPU belongs to
one, and take turns; a size's efficiency is its rate by devices times that of one device
in the same round. On a CPU the devices are simulated and share its cores: rates say
nothing there, the bytes do. Several machines are not its business: a run's own metrics
(docs/observability.md) tell how a pod does.
"""

import dataclasses
import time
from typing import Any

from pathjax.bench.duel import Record, paired_ratio, spread
from pathjax.bench.options import BenchError, StepOptions

SCALINGS = ("weak", "strong")


@dataclasses.dataclass(frozen=True)
class ScaleOptions(StepOptions):
    """Of `bench scale`; contestants and peers mean nothing here.

    Attributes:
      batch: samples of each device ("weak"), or of all together ("strong").
      scaling: whether more devices get more samples, or share the same ones.
      devices: how many at most; 0 takes all there are, and simulates 8 on a CPU.
      dtype: of the encoder's arithmetic.
    """

    scaling: str = "weak"
    devices: int = 0
    dtype: str = "bfloat16"


def measure(options: ScaleOptions) -> dict[str, Any]:
    """Rates, efficiency and bytes by number of devices and kind of mesh.

    Raises:
      BenchError: options that do not fit each other or the devices.
    """
    if options.scaling not in SCALINGS:
        raise BenchError(f"scaling={options.scaling}: wanted {' or '.join(SCALINGS)}")
    import jax

    from pathjax.bench.report import machine

    before = machine()
    _simulate(jax, options.devices)
    there = jax.device_count()
    most = options.devices or there
    if most > there:
        raise BenchError(f"devices={most}, and there are {there}")
    sizes = [n for n in (1 << k for k in range(most.bit_length())) if n <= most]
    if options.scaling == "strong" and options.batch % sizes[-1]:
        raise BenchError(
            f"batch={options.batch} does not divide over {sizes[-1]} devices"
        )
    steps = {}
    for n in sizes:
        for kind in ("data", "fsdp") if n > 1 else ("data",):
            steps[n, kind] = _step(jax, options, n, kind)
    records = {key: Record() for key in steps}
    for index in range(options.rounds + 1):
        for key, step in steps.items():
            begun = time.perf_counter()
            images = step.run(options.count)
            if index:  # a first round that is not counted
                records[key].images.append(images)
                records[key].seconds.append(time.perf_counter() - begun)
    alone = records[1, "data"].rates
    return {
        "benchmark": "scale",
        "options": dataclasses.asdict(options),
        "machine": before,
        "device": steps[1, "data"].info["device"],
        "simulated": jax.devices()[0].platform == "cpu",
        "versions": steps[1, "data"].info["versions"],
        "sizes": [
            {
                "devices": n,
                "mesh": kind,
                "batch": len(step.batch["mask"]),
                "images_per_second": spread(records[n, kind].rates),
                "efficiency": paired_ratio(
                    [rate / n for rate in records[n, kind].rates], alone
                ),
                "temporaries_bytes": step.info["temporaries_bytes"],
                "arguments_bytes": step.info["arguments_bytes"],
            }
            for (n, kind), step in steps.items()
        ],
    }


def _simulate(jax: Any, devices: int) -> None:
    """Gives a CPU as many devices as were asked for, if nothing has used it yet."""
    try:
        jax.config.update("jax_num_cpu_devices", devices or 8)
    except RuntimeError:  # there already, with as many as somebody chose
        return


def _step(jax: Any, options: ScaleOptions, n: int, kind: str) -> Any:
    """A warm step on the first `n` devices."""
    from pathjax.bench.step import Step
    from pathjax.parallel.mesh import AXES

    shape = (n, 1) if kind == "data" else (1, n)
    mesh = jax.make_mesh(
        shape,
        AXES,
        devices=jax.devices()[:n],
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
    )
    rows = options.batch * n if options.scaling == "weak" else options.batch
    values = dataclasses.asdict(options) | {"batch": rows}
    return Step(values | {"attention": "auto"}, mesh)


def show(found: dict[str, Any]) -> None:
    """Prints the result as a table."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    options = found["options"]
    table = Table(
        title=f"{options['scaling']} scaling of {options['variant']} on {found['device']}"
    )
    for title in ("devices", "batch", "images/s", "efficiency", "MiB a device"):
        table.add_column(title, justify="left" if title == "devices" else "right")
    for one in found["sizes"]:
        efficiency = one["efficiency"]
        bytes_there = one["arguments_bytes"] + one["temporaries_bytes"]
        table.add_row(
            f"{one['devices']} {one['mesh']}",
            str(one["batch"]),
            f"{one['images_per_second']['median']:.4g}",
            f"{efficiency['median']:.2f} "
            f"({efficiency['min']:.2f} to {efficiency['max']:.2f})",
            f"{bytes_there / 2**20:.0f}",
        )
    console.print(table)
    if found["simulated"]:
        console.print(
            f"the devices are simulated and share {found['machine']['cores']} cores: "
            "efficiency says nothing here, bytes do",
            highlight=False,
        )
