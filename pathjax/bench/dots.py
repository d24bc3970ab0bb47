"""Matrix products of a ViT's training step, one by one: `python -m pathjax.bench.dots`.

For each way in which forward and backward contract their operands, and for float32,
bfloat16, and bfloat16 with a float32 result: GFLOP/s, and how the compiled program runs
the product (dtype of its operands; "library" if XLA's CPU backend hands it to YNNPACK).
It shows which formulations miss the fast kernels; a whole step is `bench step`'s. Runs
on JAX's default device; the kinds of product are read from CPU programs only.
"""

import argparse
import dataclasses
import os
import re
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pathjax.files import write_json

DTYPES = {
    "float32": ("float32", "float32"),
    "bfloat16": ("bfloat16", "bfloat16"),
    "bfloat16 to float32": ("bfloat16", "float32"),
}


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a block: the defaults are ViT-S/16 at 224 px, its first MLP linear."""

    batch: int = 16
    tokens: int = 197
    width: int = 384
    features: int = 1536
    heads: int = 6


@dataclasses.dataclass(frozen=True)
class Case:
    """A product: `make(result dtype)` gives the function of two arrays."""

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    make: Callable[[str], Callable[[Any, Any], Any]]
    flops: int


def cases(size: Size) -> list[Case]:
    """Of a linear and its gradient, then of attention and its gradient."""
    import jax
    from jax import lax

    from pathjax.models.linear import dense
    from pathjax.models.narrow_attention import turned_product

    b, n, c, f, h = dataclasses.astuple(size)
    m, d = b * n, c // h
    pair = (0, 1)
    linear, attention, additions = 2 * m * c * f, 2 * b * h * n * n * d, m * f
    x, dy, kernel = (b, n, c), (b, n, f), (c, f)  # x and dy with their axes apart,
    rows, dy_rows = (m, c), (m, f)  # and flattened
    q, weights = (b, h, n, d), (b, h, n, n)

    def dot(*contract, batch=()):
        dims = (contract, (batch, batch))
        return lambda out: (
            lambda p, q: lax.dot_general(p, q, dims, preferred_element_type=out)
        )

    def gradient(layer, wanted):
        """Of the kernel or the bias of `layer`, as JAX derives it."""

        def make(out):
            params = {"kernel": jax.numpy.zeros(kernel, out)}
            params["bias"] = jax.numpy.zeros(f, out)

            def function(x, dy):
                def of(value):
                    return layer(x, params | {wanted: value})

                return jax.vjp(of, params[wanted])[1](dy)[0]

            return function

        return make

    def plain(x, params):
        y = x @ params["kernel"].astype(x.dtype)
        return y + jax.numpy.broadcast_to(params["bias"].astype(x.dtype), y.shape)

    def flat(x, params):
        return plain(x.reshape(m, c), params).reshape(dy)

    def ours(x, params):
        return dense(x, params["kernel"], params["bias"], x.dtype)

    def turned(out):
        return lambda p, q: turned_product(p, q).astype(out)

    return [
        Case("x W", (rows, kernel), dot((1,), (0,)), linear),
        Case("dy W^T", (dy_rows, kernel), dot((1,), (1,)), linear),
        Case("x^T dy", (rows, dy_rows), dot((0,), (0,)), linear),
        Case("x^T dy, two axes", (x, dy), dot(pair, pair), linear),
        Case("dW of x @ W", (x, dy), gradient(plain, "kernel"), linear),
        Case("dW of x @ W, flattened", (x, dy), gradient(flat, "kernel"), linear),
        Case("dW of dense", (x, dy), gradient(ours, "kernel"), linear),
        Case("db of x @ W + b", (x, dy), gradient(plain, "bias"), additions),
        Case("db of dense", (x, dy), gradient(ours, "bias"), additions),
        Case("q k^T", (q, q), dot((3,), (3,), batch=pair), attention),
        Case("weights v", (weights, q), dot((3,), (2,), batch=pair), attention),
        Case("weights^T dy", (weights, q), dot((2,), (2,), batch=pair), attention),
        Case("(dy^T weights)^T, turned", (q, weights), turned, attention),
    ]


def measure(size: Size, seconds: float = 0.4, rounds: int = 3) -> dict[str, Any]:
    """All cases in each dtype, in turns; the best of `rounds` is what counts.

    Args:
      size: of the block.
      seconds: to spend on a case in each round.
      rounds: over all cases, so that a disturbance does not hit one case only.

    Returns:
      "rows", one a case and dtype, and what they were measured with.
    """
    import jax
    import jaxlib

    programs = [_Program(case, name) for case in cases(size) for name in DTYPES]
    for _ in range(rounds):
        for program in programs:
            program.time(seconds)
    device = jax.devices()[0]
    return {
        "size": dataclasses.asdict(size),
        "versions": {m.__name__: m.__version__ for m in (jax, jaxlib)},
        "device": f"{device.platform} {device.device_kind}",
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "rounds": rounds,
        "rows": [program.row() for program in programs],
    }


class _Program:
    """A case in a dtype, compiled."""

    def __init__(self, case: Case, dtypes: str):
        import jax

        given, out = DTYPES[dtypes]
        self._case, self._dtypes = case, dtypes
        self._arrays = [
            jax.random.normal(jax.random.key(i), shape).astype(given)
            for i, shape in enumerate(case.shapes)
        ]
        function = jax.jit(case.make(out))
        self._run = function.lower(*self._arrays).compile()
        self._seconds: list[float] = []

    def time(self, seconds: float) -> None:
        """Runs it for `seconds`, twice at least, the first not counted."""
        self._run(*self._arrays).block_until_ready()
        end = time.perf_counter() + seconds
        while True:
            begun = time.perf_counter()
            self._run(*self._arrays).block_until_ready()
            now = time.perf_counter()
            self._seconds.append(now - begun)
            if now >= end:
                return

    def row(self) -> dict[str, Any]:
        best = min(self._seconds)
        return {
            "case": self._case.name,
            "dtype": self._dtypes,
            "shapes": self._case.shapes,
            "runs": len(self._seconds),
            "best_ms": 1e3 * best,
            "median_ms": 1e3 * statistics.median(self._seconds),
            "gflops": 1e-9 * self._case.flops / best,
            "program": describe(self._run.as_text()),
        }


def describe(program: str) -> str:
    """How an optimised CPU program runs its product, such as "bf16 library".

    "f32" for narrow arrays means that they are converted first. Without "library" a
    float32 product is Eigen's and a bfloat16 one a plain loop. "" without a product.
    """
    products = re.findall(r"= \w+\[[^=]* dot\(%?([\w.-]+)", program)
    if not products:
        return ""
    operand = re.search(rf"%?{re.escape(products[0])} = (\w+)\[", program)
    library = " library" if "__ynn_fusion" in program else ""
    return (operand.group(1) if operand else "?") + library


def table(found: dict[str, Any]) -> str:
    """As Markdown: a row a case, a column a dtype."""
    cells: dict[str, dict[str, str]] = {}
    for row in found["rows"]:
        rate = f"{row['gflops']:.0f}" if row["gflops"] >= 10 else f"{row['gflops']:.2g}"
        how = f" ({row['program']})" if row["program"] else ""
        cells.setdefault(row["case"], {})[row["dtype"]] = rate + how
    lines = [f"| GFLOP/s | {' | '.join(DTYPES)} |", "|---" * (len(DTYPES) + 1) + "|"]
    lines += [
        f"| {case} | {' | '.join(by[name] for name in DTYPES)} |"
        for case, by in cells.items()
    ]
    versions = ", ".join(f"{k} {v}" for k, v in found["versions"].items())
    flags = f"XLA_FLAGS={found['XLA_FLAGS']!r}"
    load = " ".join(f"{value:.1f}" for value in found["load"])
    where = f"{found['device']}, {found['cpus']} CPUs, load {load}"
    return "\n".join([*lines, "", f"{versions}; {where}; {flags}"])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m pathjax.bench.dots", description=__doc__.split("\n")[0]
    )
    for field in dataclasses.fields(Size):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    parser.add_argument("--seconds", type=float, default=0.4, help="a case and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write all of it here")
    given = vars(parser.parse_args(words))
    out, seconds, rounds = (given.pop(k) for k in ("json", "seconds", "rounds"))
    found = measure(Size(**given), seconds, rounds)
    print(table(found))
    if out is not None:
        write_json(out, found)


if __name__ == "__main__":
    main()
