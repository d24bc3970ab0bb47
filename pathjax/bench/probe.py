"""`pathjax bench probe`: eva's linear probe, our whole sweep against PyTorch and eva.

A turn of ours is a whole sweep: all runs to their own early stops. A PyTorch peer runs
some steps of the same fit without validation, with batches from a tensor or a DataLoader.
`eva` is kaiko-eva itself, which also runs to its early stops once, so that balanced
accuracies can be compared. All are compared in optimiser steps a second. Features are
synthetic, with the two classes and the width of PCam, and one in 13 of its rows.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.options import Common, Entry
from pathjax.bench.worker import Contestant


@dataclasses.dataclass(frozen=True)
class Options(Common):
    """Features, runs and limits.

    Attributes:
      rows, val_rows, width: Of the features.
      runs: Seeds; simultaneous in ours, one after the other in eva.
      max_steps: Limit of a run, as in eva, which needs half an hour for it. The patience
        is a fifth of it, as in eva.
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
    }
    package = "pathjax.bench"
    torch = f"{package}.torch_peers:TorchProbe"
    slices, loader = base | {"kind": "slices"}, base | {"kind": "loader"}
    eva = f"{package}.eva_peer:EvaRuns"
    return [
        Entry("pathjax", "pathjax", f"{package}.probe:Sweep", base),
        Entry("torch", "PyTorch, tensor slices", torch, slices, ("torch",)),
        Entry("torch-loader", "PyTorch, DataLoader", torch, loader, ("torch",)),
        Entry("eva", "kaiko-eva", eva, base, ("eva",), "eva", default=False),
    ]


def prepare(options: Options, folder: Path) -> dict[str, Any]:
    """Writes features.npz: two folds with two classes by a noisy linear rule."""
    rng, width = np.random.default_rng(0), options.width
    rule = rng.normal(size=width) / np.sqrt(width)
    arrays = {}
    for fold, count in (("train", options.rows), ("val", options.val_rows)):
        x = rng.normal(size=(count, width)).astype(np.float32)
        arrays[f"{fold}_x"] = x
        arrays[f"{fold}_y"] = x @ rule + rng.normal(0, 0.7, count) > 0
    np.savez(folder / "features.npz", **arrays)
    return {}


class Sweep(Contestant):
    """Our sweep: all runs in one program."""

    def __init__(self, options: dict[str, Any]):
        start = time.perf_counter()
        import jax

        from pathjax.evals.probes.eva_linear import EvaLinear

        self._options = options
        self._protocol = EvaLinear(seeds=options["runs"], steps=options["max_steps"])
        with np.load(Path(options["folder"]) / "features.npz") as file:
            self._data = [
                file[f"{fold}_{kind}"].astype(dtype)
                for fold in ("train", "val")
                for kind, dtype in (("x", np.float32), ("y", np.int32))
            ]
        sweep = self._sweep()
        epochs = np.asarray(sweep.epochs)[:, 0]
        self._steps = int(epochs.sum()) * options["steps_an_epoch"]
        self.info = {
            "unit": "steps",
            "versions": {"jax": jax.__version__},
            "threads": options["threads"],
            "note": f"{self._steps} steps to the early stops of {options['runs']} runs",
            "cold_seconds": time.perf_counter() - start,
            "steps": self._steps,
            "epochs": epochs.tolist(),
            "scores": np.asarray(sweep.score)[:, 0].tolist(),
        }

    def _sweep(self) -> Any:
        return self._protocol.sweep(*self._data, self._data[2], classes=2)

    def run(self, count: int) -> int:
        """`count` whole sweeps."""
        for _ in range(count):
            self._sweep()
        return count * self._steps


def summary(result: dict[str, Any]) -> list[str]:
    """Balanced accuracies and seconds of the whole sweep."""
    contestants = result["contestants"]
    ours = contestants["pathjax"]
    lines = [f"pathjax: {ours['cold_seconds']:.1f} s with imports and compilation"]
    for contestant in contestants.values():
        label = contestant["label"]
        seconds = ours["steps"] / contestant["items_per_second"]["median"]
        lines.append(f"{label}: {seconds:.1f} s for {ours['steps']} steps")
        if "scores" in contestant and contestant is not ours:
            points, error = agreement(ours["scores"], contestant["scores"])
            lines.append(
                f"balanced accuracy, pathjax - {label}: {points:+.2f} points "
                f"(standard error {error:.2f})"
            )
    return lines


def agreement(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Difference of the means in points of 100, and its standard error.

    The error is that of independent means of unequal variance (Welch 1947, Biometrika
    34:28).

    Raises:
      ValueError: fewer than two runs, or unequal numbers of runs.
    """
    if len(ours) != len(theirs) or len(ours) < 2:
        raise ValueError(
            f"expected the same number of runs, at least 2, got {len(ours)} and "
            f"{len(theirs)}"
        )
    variance = statistics.variance(ours) + statistics.variance(theirs)
    difference = statistics.mean(ours) - statistics.mean(theirs)
    return 100 * difference, 100 * math.sqrt(variance / len(ours))
