"""Float32 products by XLA's oneDNN: their speed, and whether what is fused to them is right.

    python tests/xla_onednn.py

A script, not a test: docs/performance.md has its output, and says why pathjax does not use
oneDNN. A product with other operations beside it may end the process, so none is run.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

ONEDNN = {
    "xla_cpu_use_onednn": True,
    "xla_cpu_experimental_onednn_fusion_type": "LIBRARY_FUSION_TYPE_DOT",
}
TOKENS, WIDTH, HIDDEN = 16 * 197, 384, 1536  # ViT-S/16 at 224 px, a batch of 16
HEADS, HEAD = (16, 6, 197, 64), (16, 6, 197, 197)
PRODUCTS = {
    "fc1": ("nc,cf->nf", (TOKENS, WIDTH), (WIDTH, HIDDEN)),
    "fc2": ("nf,fc->nc", (TOKENS, HIDDEN), (HIDDEN, WIDTH)),
    "gradient of fc1's kernel": ("nc,nf->cf", (TOKENS, WIDTH), (TOKENS, HIDDEN)),
    "gradient of fc1's input": ("nf,cf->nc", (TOKENS, HIDDEN), (WIDTH, HIDDEN)),
    "attention: logits": ("bhnd,bhmd->bhnm", HEADS, HEADS),
    "attention: values": ("bhnm,bhmd->bhnd", HEAD, HEADS),
    "attention: gradient of values": ("bhnm,bhnd->bhmd", HEAD, HEADS),
}


def fastest(program, *operands) -> float:
    """Seconds of the fastest of 8 runs."""
    jax.block_until_ready(program(*operands))
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        jax.block_until_ready(program(*operands))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    random = np.random.default_rng(0)
    print(f"jax {jax.__version__}; GFLOP/s as XLA chooses, and by oneDNN")
    for name, (spec, *shapes) in PRODUCTS.items():
        a, b = (jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes)
        letters = spec.split("->")[0].replace(",", "")
        sizes = dict(zip(letters, a.shape + b.shape, strict=True))
        flops = 2 * np.prod(list(sizes.values()))
        lowered = jax.jit(lambda a, b, spec=spec: jnp.einsum(spec, a, b)).lower(a, b)
        rates = [
            flops / 1e9 / fastest(lowered.compile(compiler_options=options), a, b)
            for options in ({}, ONEDNN)
        ]
        print(f"{name:30s} {rates[0]:5.0f} {rates[1]:5.0f}")
    a, b = random.normal(size=(2, 64, 64)).astype(np.float32)
    program = jax.jit(lambda a, b: (a @ b) * 2 + 1).lower(a, b)
    found = program.compile(compiler_options=ONEDNN)(a, b)
    error = np.abs(found - ((a @ b) * 2 + 1)).max()
    print(f"(a @ b) * 2 + 1: largest error {error:.3g} (1e-4 is rounding)")


if __name__ == "__main__":
    main()
