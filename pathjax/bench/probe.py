"""`pathjax bench probe`: eva's linear probe, our whole sweep against PyTorch and eva.

A turn of ours is a whole sweep, compiled: all runs to their own early stops; its first
start, with imports and compilation, is `ready_seconds`. A PyTorch peer runs some steps of
the same fit without validation: batches cut from a tensor, which is the least that any
loop of PyTorch does, or its DataLoader. `eva` is kaiko-eva itself, which also runs to
its early stops once, so that balanced accuracies can be compared. All are compared in
optimiser steps a second. Features are synthetic, with the two classes and the width of
PCam, and one in 13 of its rows.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import Common
from pathjax.bench.runner import Entry
from pathjax.bench.worker import Contestant, serve


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Features, runs and limits.

    Attributes:
      rows, val_rows, width: Of the features.
      runs: Seeds; simultaneous in ours, one after the other in a peer.
      max_steps: Of a run, at most; eva's is 12,500, which takes eva half an hour. The
        patience is a fifth of it, as in eva.
      peer_steps: Of a peer in a turn.
      peer_threads: Of PyTorch, which waits for its threads longer than they work.
    """

    rounds: int = 3
    count: int = 1
    rows: int = 20_000
    val_rows: int = 4_000
    width: int = 384
    runs: int = 5
    max_steps: int = 12_500
    peer_steps: int = 500
    peer_threads: int = 1


def entries(options: Options, folder: Path) -> list[Entry]:
    """All contestants, ours first."""
    from pathjax.evals.probes.eva_linear import EvaLinear

    protocol = EvaLinear(steps=options.max_steps)
    base = dataclasses.asdict(options) | {
        "folder": str(folder),
        "patience": protocol.recipe(options.rows).patience,
        "steps_an_epoch": -(-options.rows // protocol.batch),
        "starts": "",
    }

    def torch(name: str, label: str, kind: str) -> Entry:
        module, values = "pathjax.bench.probe_peer", base | {"kind": kind}
        return Entry(name, label, module, values, True, ("torch",))

    def eva(name: str, label: str, **changes) -> Entry:
        module, values = "pathjax.bench.eva_peer", base | changes
        return Entry(name, label, module, values, True, ("eva",), "eva", False)

    return [
        Entry("pathjax", "pathjax", "pathjax.bench.probe", base),
        torch("torch", "PyTorch, tensor slices", "slices"),
        torch("torch-loader", "PyTorch, DataLoader", "loader"),
        eva("eva", "kaiko-eva", workers=0),
        eva("eva-workers", "kaiko-eva, 4 loader processes", workers=4),
        eva("eva-our-starts", "kaiko-eva from our starts", workers=0, starts="ours"),
    ]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Writes the features, and the first parameters of our runs."""
    write_features(folder, options.rows, options.val_rows, options.width)
    write_starts(folder, options.width, options.runs)
    return {}


def write_features(folder: Path, rows: int, val_rows: int, width: int) -> None:
    """Writes two folds with two classes by a noisy linear rule."""
    rng = np.random.default_rng(0)
    rule = rng.normal(size=width) / np.sqrt(width)
    arrays = {}
    for fold, count in (("train", rows), ("val", val_rows)):
        x = rng.normal(size=(count, width)).astype(np.float32)
        arrays[f"{fold}_x"] = x
        arrays[f"{fold}_y"] = x @ rule + rng.normal(0, 0.7, count) > 0
    np.savez(folder / "features.npz", **arrays)


def write_starts(folder: Path, width: int, runs: int) -> None:
    """Writes the first parameters of our runs, for eva to start from."""
    import jax

    from pathjax.evals.probes.minibatch import run_keys, uniform_linear

    starts = jax.vmap(lambda seed: uniform_linear(run_keys(seed)[0], width, 1))(
        np.arange(runs)
    )
    np.savez(folder / "starts.npz", **jax.tree.map(np.asarray, starts))


class Sweep(Contestant):
    """Our sweep: all runs in one program."""

    def __init__(self, options: dict[str, Any]):
        start = time.perf_counter()
        import jax

        from pathjax.evals.probes.eva_linear import EvaLinear

        self._options, self._jax = options, jax
        self._protocol = EvaLinear(steps=options["max_steps"])
        with np.load(Path(options["folder"]) / "features.npz") as file:
            self._data = [
                file[f"{fold}_{kind}"].astype(dtype)
                for fold in ("train", "val")
                for kind, dtype in (("x", np.float32), ("y", np.int32))
            ]
        self._sweep()
        self.info = {
            "unit": "steps",
            "versions": {"jax": jax.__version__},
            "threads": options["threads"],
            "note": f"{self._steps} steps to the early stops of {options['runs']} runs",
            "cold_seconds": time.perf_counter() - start,
            "steps": self._steps,
            "epochs": self._epochs.tolist(),
            "scores": self._scores.tolist(),
        }

    def _sweep(self) -> None:
        from pathjax.evals.probes.eva_linear import linear_sweep

        sweep = linear_sweep(
            *self._data,
            self._data[2],
            np.arange(self._options["runs"]),
            np.array(self._protocol.learning_rates, np.float32),
            classes=2,
            options=self._protocol,
        )
        self._jax.block_until_ready(sweep)
        self._epochs = np.asarray(sweep.epochs)[:, 0]
        self._scores = np.asarray(sweep.score)[:, 0]
        self._steps = int(self._epochs.sum()) * self._options["steps_an_epoch"]

    def run(self, count: int) -> int:
        """`count` whole sweeps."""
        for _ in range(count):
            self._sweep()
        return count * self._steps


def summary(result: dict[str, Any]) -> list[str]:
    """Balanced accuracies and seconds of the whole sweep, in words."""
    contestants = result["contestants"]
    ours = contestants["pathjax"]
    lines = [f"pathjax: {ours['cold_seconds']:.1f} s with imports and compilation"]
    for one in contestants.values():
        seconds = ours["steps"] / one["items_per_second"]["median"]
        lines.append(f"{one['label']}: {seconds:.1f} s for {ours['steps']} steps")
        if "scores" in one and one is not ours:
            paired = one.get("paired", False)
            gap = agreement(ours["scores"], one["scores"], paired=paired)
            lines.append(
                f"balanced accuracy, pathjax - {one['label']}: {gap['points']:+.2f} "
                f"points (standard error {gap['standard_error']:.2f})"
            )
    return lines


def agreement(
    ours: Sequence[float], theirs: Sequence[float], *, paired: bool
) -> dict[str, float]:
    """Our mean minus theirs, in points of 100, and its standard error.

    The error is that of run-by-run differences if `paired`, where runs share their
    start, else of two independent means of unequal variance (Welch 1947, Biometrika
    34:28).

    Raises:
      ValueError: fewer than two runs, or unequal numbers of runs.
    """
    if len(ours) != len(theirs) or len(ours) < 2:
        raise ValueError(
            f"expected the same number of runs, at least 2, got {len(ours)} and "
            f"{len(theirs)}"
        )
    if paired:
        gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
        variance = statistics.variance(gaps)
    else:
        variance = statistics.variance(ours) + statistics.variance(theirs)
    return {
        "points": 100 * (statistics.mean(ours) - statistics.mean(theirs)),
        "standard_error": 100 * math.sqrt(variance / len(ours)),
    }


if __name__ == "__main__":
    serve(Sweep)
