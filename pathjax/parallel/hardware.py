"""Figures of chips, and how a target such as `v5e:4x4` is read.

All figures are the makers' own, with their source; none was measured here. They are
those of one device as JAX shows it, which for TPU7x is half a chip.
"""

import dataclasses
import math
import re
from typing import Literal

from pathjax.registry import did_you_mean

GB, GIB, T = 10**9, 1 << 30, 10**12
CLOUD = "https://docs.cloud.google.com/tpu/docs"
NVIDIA = "https://www.nvidia.com/en-us/data-center"
# JAX takes this share of a GPU's memory when it starts, and no more:
# https://docs.jax.dev/en/latest/gpu_memory_allocation.html
GPU_SHARE = 0.75


class TargetError(ValueError):
    """An unknown chip, or a shape that it does not have."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One device.

    Attributes:
      name: As in a target.
      title: For people.
      platform: "tpu", "gpu" or "cpu".
      peak: FLOP/s of dense bfloat16 products; None if there is no one figure.
      peak_float32: FLOP/s of products of float32 arrays at JAX's default precision.
      memory: Bytes that a program can use.
      bandwidth: Bytes/s of that memory.
      link: Bytes/s that a device can send to others of its pod or machine, all links
        together, in one direction.
      machine, network: Devices in one machine, and bytes/s that one can send beyond it;
        0 where links reach all.
      per_chip: Devices of one chip, in which one is billed.
      axes: Numbers in the shape of a pod; 1 is a count.
      host: Shape of the chips of one process of a pod.
      source: Of the figures.
    """

    name: str
    title: str
    platform: Literal["tpu", "gpu", "cpu"]
    peak: float | None
    peak_float32: float | None
    memory: float | None
    bandwidth: float | None
    link: float | None
    machine: int = 0
    network: float = 0.0
    per_chip: int = 1
    axes: int = 1
    host: tuple[int, ...] = ()
    source: str

    def peak_of(self, dtype: str) -> float | None:
        """FLOP/s of products whose operands have this dtype."""
        return self.peak if dtype == "bfloat16" else self.peak_float32


def _tpu(name, title, peak, memory, bandwidth, both_ways, axes, page, per_chip=1):
    # Float32 operands are rounded to bfloat16 for a product, at JAX's default precision.
    return Chip(
        name=name,
        title=title,
        platform="tpu",
        peak=peak * T / per_chip,
        peak_float32=peak * T / per_chip,
        memory=memory * GIB,
        bandwidth=bandwidth * GB / per_chip,
        link=both_ways / 2 * GB / per_chip,
        per_chip=per_chip,
        axes=axes,
        host=(2, 4) if axes == 2 else (2, 2, 1),
        source=f"{CLOUD}/{page}; usable memory: what the compiler refuses beyond",
    )


def _gpu(name, title, peak, tf32, memory, bandwidth, both_ways, network, page):
    return Chip(
        name=name,
        title=title,
        platform="gpu",
        peak=peak * T,
        peak_float32=tf32 * T,  # JAX's default precision for float32 is TF32
        memory=memory * GB * GPU_SHARE,
        bandwidth=bandwidth * GB,
        link=both_ways / 2 * GB,
        machine=8,
        network=network * GB,
        source=f"{NVIDIA}/{page}, dense, SXM; network: one adapter per GPU, as in DGX",
    )


CHIPS = {
    chip.name: chip
    for chip in (
        _tpu("v5e", "TPU v5e", 197, 15.75, 819, 400, 2, "v5e"),
        _tpu("v5p", "TPU v5p", 459, 95.74, 2765, 1200, 3, "v5p"),
        _tpu("v6e", "TPU v6e (Trillium)", 918, 31.25, 1638, 800, 2, "v6e"),
        _tpu(
            "tpu7x", "TPU7x (Ironwood)", 2307, 94.75, 7380, 1200, 3, "tpu7x", per_chip=2
        ),
        _gpu("a100", "NVIDIA A100 80GB", 312, 156, 80, 2039, 600, 25, "a100/"),
        _gpu("h100", "NVIDIA H100", 989, 495, 80, 3350, 900, 50, "h100/"),
        _gpu("h200", "NVIDIA H200", 989, 495, 141, 4800, 900, 50, "h200/"),
        _gpu("b200", "NVIDIA B200", 2250, 1100, 180, 7700, 1800, 50, "hgx/"),
        Chip(
            name="cpu",
            title="CPU (simulated devices)",
            platform="cpu",
            peak=None,
            peak_float32=None,
            memory=None,
            bandwidth=None,
            link=None,
            source="none: CPUs differ too much; `pathjax bench step` measures one",
        ),
    )
}
# Other names of the same chips.
ALIASES = {"v5litepod": "v5e", "v5lite": "v5e", "v7x": "tpu7x", "trillium": "v6e"}


@dataclasses.dataclass(frozen=True)
class Target:
    """Chips of one kind.

    Attributes:
      chip: The kind.
      shape: Of the pod, in chips; one number for machines without one.
    """

    chip: Chip
    shape: tuple[int, ...]

    @property
    def chips(self) -> int:
        return math.prod(self.shape)

    @property
    def devices(self) -> int:
        """As JAX counts them."""
        return self.chips * self.chip.per_chip

    @property
    def host(self) -> "Target":
        """The part of one process; a machine of GPUs is one process here."""
        shape = self.chip.host or (self.chip.machine or self.chips,)
        return self if self.chips <= math.prod(shape) else Target(self.chip, shape)

    @property
    def name(self) -> str:
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"


def parse_target(text: str) -> Target:
    """Reads `v5e:4x4`, `v5p:2x2x4`, `h200:1` or `cpu:8`.

    Raises:
      TargetError: Naming the known chips, or the shape of one.
    """
    name, _, shape = text.strip().lower().partition(":")
    name = ALIASES.get(name, name)
    if name == "v4":
        raise TargetError(
            f"target {text!r}: v4 is left out, since its compiler shows each chip as two "
            "devices, on which JAX lays no mesh; choose v5p"
        )
    if name not in CHIPS:
        raise TargetError(
            f"target {text!r}: no chip {name!r}; {did_you_mean(name, CHIPS)}"
        )
    chip = CHIPS[name]
    match = re.fullmatch(r"\d+(x\d+)*", shape)
    numbers = tuple(map(int, shape.split("x"))) if match else ()
    if len(numbers) != chip.axes or min(numbers) < 1:
        form = {1: "a count, such as :8", 2: "AxB, such as :4x4", 3: "AxBxC, as :2x2x4"}
        raise TargetError(f"target {text!r}: expected {name} with {form[chip.axes]}")
    return Target(chip, numbers)
