"""The least time that a step can take, by the roofline (Williams et al. 2009).

Computing, moving data to and from main memory, and sending to other chips are taken to
overlap perfectly, so the step takes the longest of the three. Real steps take longer:
this bounds speed from above, and is no forecast.
"""

import dataclasses
from collections.abc import Sequence

from pathjax.parallel.hardware import Chip
from pathjax.plan.collectives import Collective


@dataclasses.dataclass(frozen=True)
class Bound:
    """Attributes:
    compute, memory, links: seconds that each takes at the chip's peak; None where the
      chip has no figure.
    seconds: the longest.
    limited_by: which that is.
    mfu: model FLOPs over what the chips could do in that time.
    """

    compute: float | None
    memory: float | None
    links: float | None
    seconds: float | None
    limited_by: str
    mfu: float | None


def bound(
    chip: Chip,
    devices: int,
    *,
    dtype: str,
    executed: int,
    model: int,
    accessed: int,
    sent: Sequence[Collective],
) -> Bound:
    """The bound of one step.

    Args:
      chip, devices: the target.
      dtype: of matrix products.
      executed: FLOPs on all devices, what is computed twice counted twice.
      model: FLOPs that the model needs, each once.
      accessed: bytes that a device moves in main memory.
      sent: collectives of the program.
    """
    peak = chip.peak_of(dtype)
    if peak is None:
        return Bound(None, None, None, None, "", None)
    times = {
        "compute": executed / devices / peak,
        "memory": accessed / chip.bandwidth,
        "links": sum(_seconds(chip, one) for one in sent),
    }
    limited_by = max(times, key=times.get)
    seconds = times[limited_by]
    mfu = model / devices / peak / seconds if seconds else None
    return Bound(**times, seconds=seconds, limited_by=limited_by, mfu=mfu)


def _seconds(chip: Chip, one: Collective) -> float:
    """Over all links at once, which flatters small groups; beyond a machine, over its
    network."""
    beyond = chip.machine and one.group > chip.machine
    return one.moved_bytes / (chip.network if beyond else chip.link)
