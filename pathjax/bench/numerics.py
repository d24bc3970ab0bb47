"""The numerics of a device against the CPU's: encoder, training step, losses, attention.

The reference is the CPU in float32 with exact products. Inputs are the same, and exact in
bfloat16. An error is the largest difference of an output or gradient, relative to the
reference's largest value. Nothing is timed here.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from pathjax import losses, objectives
from pathjax.bench.step import synthetic_batch
from pathjax.config import RunConfig
from pathjax.models.attention import IMPLEMENTATIONS, attend, compiled_for
from pathjax.objectives.objective import init_vit
from pathjax.parallel.mesh import to_global
from pathjax.plan.inputs import Sizes
from pathjax.plan.steps import build

# Dtype, JAX's precision of products, and tolerance. The default precision of float32
# products is TensorFloat-32 on GPUs (10 bits of mantissa), bfloat16 on TPUs (7), exact on
# CPUs.
ARITHMETIC: dict[str, tuple[str, str | None, float]] = {
    "float32": ("float32", "highest", 1e-4),
    "float32, default precision": ("float32", None, 3e-2),
    "bfloat16": ("bfloat16", None, 5e-2),
}
ROWS, WIDTH = 32, 64  # B, and E, G and P, of the losses' arrays
HEADS = (2, 3, 197, 64)  # B, h, N, d: 197 tokens are a ViT/16's at 224 px

Case = Callable[[str, jax.Device], Any]  # (dtype, device) -> outputs


@dataclasses.dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
      what, arithmetic: What was compared, and its arithmetic, of `ARITHMETIC`.
      state: "skipped" where the device does not offer it.
      error, tolerance: None where there is no error to give.
      note: Why it was skipped, or how it broke.
    """

    what: str
    arithmetic: str
    state: Literal["passed", "failed", "skipped"]
    error: float | None
    tolerance: float
    note: str = ""


def compare(
    config: Callable[[str], RunConfig], device: jax.Device, cpu: jax.Device
) -> Iterator[Check]:
    """All checks of a device.

    Args:
      config: By dtype, the run whose encoder and training step are compared.
      device, cpu: The one examined, and the reference.
    """
    cases: dict[str, Case] = {
        "encoder": lambda dtype, device: _encoder(config(dtype)),
        "training step": lambda dtype, device: _step(config(dtype), device),
    }
    cases |= {f"loss: {name}": case for name, case in _losses().items()}
    for name in IMPLEMENTATIONS[1:]:  # without "auto"
        cases[f"attention: {name}"] = functools.partial(_attention, name)
    for what, case in cases.items():
        reference = cases["attention: einsum"] if "cudnn" in what else case
        expected = _evaluate(reference, cpu, "float32", "highest")
        for name, (dtype, precision, tolerance) in ARITHMETIC.items():
            check = functools.partial(Check, what, name, tolerance=tolerance)
            if "cudnn" in what and (device.platform != "gpu" or dtype == "float32"):
                note = "cuDNN's fused attention needs a GPU, and bfloat16"
                yield check(state="skipped", error=None, note=note)
                continue
            try:
                found = _evaluate(case, device, dtype, precision)
            except (RuntimeError, ValueError) as error:  # the others are still worth it
                note = f"{type(error).__name__}: {error}"[:300]
                yield check(state="failed", error=None, note=note)
                continue
            error = relative_error(found, expected)
            passed = error <= tolerance  # NaN fails
            finite = error if np.isfinite(error) else None
            note = "" if finite is not None else "it is not finite"
            yield check(state="passed" if passed else "failed", error=finite, note=note)


def relative_error(found: Any, expected: Any) -> float:
    """The largest error of a tree's leaves; NaN if one is not finite."""

    def of(a, b):
        return np.abs(a - b).max() / max(np.abs(b).max(), np.finfo(np.float32).tiny)

    errors = jax.tree.leaves(jax.tree.map(of, found, expected))
    return float(np.max(errors))


def _evaluate(case: Case, device, dtype: str, precision: str | None) -> Any:
    """Outputs of a case on a device, as float64."""
    with (
        jax.default_device(device),
        jax.default_matmul_precision(precision),
        compiled_for(device.platform),
    ):
        return jax.tree.map(lambda x: np.asarray(x, np.float64), case(dtype, device))


def _encoder(config: RunConfig) -> Any:
    vit, px = config.encoder(None), config.data.image_px
    images = np.random.default_rng(0).integers(0, 256, (4, px, px, 3), np.uint8)
    params = jax.jit(lambda key: init_vit(vit, key))(jax.random.key(0))
    # A function of its own each time: jit would reuse what was traced for the CPU.
    return jax.jit(lambda p, x: objectives.encode(vit, p, x))(params, images)


def _step(config: RunConfig, device: jax.Device) -> Any:
    """Loss and gradient norm of the first step, as `train` takes it."""
    data = config.data
    program, _ = build(config, [device], Sizes(genes=data.genes))
    sizes = {"batch": data.batch, "image_px": data.image_px, "genes": data.genes}
    state, shardings = program.make_state(jax.random.key(0))
    batch = to_global(synthetic_batch(sizes), program.mesh)
    _, logs = program.train_step(shardings)(state, batch, jax.random.key(1))
    return {name: logs[name] for name in ("loss", "grad_norm")}


def _attention(name: Any, dtype: str, device: jax.Device) -> Any:
    q, k, v, weights = _normal(4, *HEADS)

    def loss(heads):
        out = attend(*(x.astype(dtype) for x in heads), name).astype(jnp.float32)
        return (out * weights).sum(), out

    return jax.jit(jax.value_and_grad(loss, has_aux=True))((q, k, v))


def _losses() -> dict[str, Case]:
    """Each loss with its gradient."""
    left, right, centre = _normal(3, ROWS, WIDTH)
    units = tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (left, right))
    views = _normal(ROWS, 4, WIDTH)
    counts = np.random.default_rng(0).poisson(3.0, (ROWS, WIDTH)).astype(np.float32)
    mask, pairs = np.ones(ROWS, bool), np.arange(ROWS, dtype=np.int32)
    scale, bias = np.float32(np.log(10)), np.float32(-10)

    def case(loss, *arrays) -> Case:
        rounded = [jnp.asarray(x, jnp.bfloat16).astype(jnp.float32) for x in arrays]
        arguments = [np.asarray(x) for x in rounded]  # on no device

        def mean(dtype, arrays):
            return loss(*(x.astype(dtype) for x in arrays)).mean()

        return lambda dtype, device: jax.jit(
            jax.value_and_grad(functools.partial(mean, dtype))
        )(arguments)

    return {
        "InfoNCE": case(lambda a, b: losses.info_nce(a, b, scale, mask, pairs), *units),
        "sigmoid": case(
            lambda a, b: losses.sigmoid_loss(a, b, scale, bias, mask, pairs), *units
        ),
        "MSE": case(losses.mse, left, right),
        "Huber": case(losses.huber, left, right),
        "Pearson": case(lambda a, b: losses.pearson_loss(a, b, mask), left, right),
        "negative binomial": case(
            lambda mu, dispersion: losses.negative_binomial_nll(mu, dispersion, counts),
            *(np.exp(left), right[0]),
        ),
        "DINO": case(
            lambda s, t, c: losses.dino_loss(s, t, c, 0.1, 0.04),
            *(views, views[:, :2], centre[0]),
        ),
    }


def _normal(*shape: int) -> np.ndarray:
    """Normal values that bfloat16 represents."""
    values = np.random.default_rng(0).normal(size=shape)
    return np.asarray(jnp.asarray(values, jnp.bfloat16).astype(jnp.float32))
