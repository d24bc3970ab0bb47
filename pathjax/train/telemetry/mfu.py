"""Model FLOPs utilisation: what a step has to compute, and what the devices could.

Model FLOPs are those of a step that computes nothing twice (Chowdhery et al. 2022,
"PaLM", appendix B): rematerialised blocks and accumulated parts count once. Peaks are
those of `parallel/hardware.py`; without one, as on a CPU, there is no utilisation.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax

from pathjax.parallel.hardware import CHIPS, Chip
from pathjax.train.program import Program
from pathjax.train.telemetry.flops import Flops, jaxpr_flops

# `device_kind` of TPUs, as JAX's own tables have it (jax/_src/pallas/mosaic/tpu_info.py).
TPU_KINDS = {
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
    "TPU7x": "tpu7x",
}
# Variants of GPUs with another peak than the SXM module's.
OTHER_GPUS = ("PCIe", "NVL", "MIG")


def chip_of(device: jax.Device) -> Chip | None:
    """The chip of a device; None if it is unknown."""
    kind = device.device_kind
    if device.platform == "tpu":
        return CHIPS.get(TPU_KINDS.get(kind, ""))
    if device.platform in ("gpu", "cuda") and not any(o in kind for o in OTHER_GPUS):
        words = kind.replace("-", " ").lower().split()
        return next((CHIPS[word] for word in words if word in CHIPS), None)
    return None


def peak_flops(devices: Iterable[jax.Device], dtype: str) -> float | None:
    """FLOP/s of all devices, for products of `dtype`; None if any chip is unknown."""
    chips = [chip_of(device) for device in devices]
    peaks = [chip.peak_of(dtype) if chip else None for chip in chips]
    known = [peak for peak in peaks if peak]
    return sum(known) if len(known) == len(peaks) else None


def model_flops(program: Program) -> Flops:
    """FLOPs of one training step over all devices; traces it, and compiles nothing."""
    objective = program.objective
    vit = objective.spec.vit.replace(remat=False)
    objective = objective.setup(dataclasses.replace(objective.spec, vit=vit))
    once = dataclasses.replace(program, objective=objective, parts=1)
    state, shardings = once.abstract_state()
    key = jax.eval_shape(lambda: jax.random.key(0))
    step: Any = once.train_step(shardings)
    return jaxpr_flops(step.trace(state, once.abstract_batch(), key).jaxpr)
