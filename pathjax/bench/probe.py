"""eva's linear probe: our whole sweep against a loop of PyTorch's, in seconds.

    ProbeOptions -> measure -> seconds, epochs and scores -> show

The sweep is timed with its compilation, as a user meets it the first time, and again
without. The peer runs some steps of the same fit and is extrapolated to the steps that
our runs took, each to its own early stop; it does not validate. It is PyTorch with its
data at hand, twice: batches cut from a tensor, which is the least any loop of PyTorch
does, and its DataLoader. eva itself does the latter inside Lightning and is slower by
far; it is no contestant here.

Features are synthetic, of PCam's two classes and 384 numbers, one in 13 of its rows.
"""

import dataclasses
import time
from typing import Any

import numpy as np

from pathjax.bench.options import PRIVATE, BenchError, Common


@dataclasses.dataclass(frozen=True)
class ProbeOptions(Common):
    """Of `bench probe`; rounds, threads and the peer's interpreter mean nothing here.

    Attributes:
      rows, val_rows, width: of the features.
      runs: seeds, side by side here, one after the other there.
      max_steps: of a run, at most; 12,500 is eva's.
      peer_steps: of the peer, before extrapolation.
      peer_threads: of PyTorch; with more than one it waits for its threads longer than
        they work.
    """

    rows: int = 20_000
    val_rows: int = 4_000
    width: int = 384
    runs: int = 5
    max_steps: int = 12_500
    peer_steps: int = 500
    peer_threads: int = 1


def made(options: ProbeOptions) -> list[np.ndarray]:
    """Train and validation features and classes; a linear rule with noise."""
    rng = np.random.default_rng(0)
    rule = rng.normal(size=options.width) / np.sqrt(options.width)
    found = []
    for rows in (options.rows, options.val_rows):
        x = rng.normal(size=(rows, options.width)).astype(np.float32)
        found += [x, (x @ rule + rng.normal(0, 0.7, rows) > 0).astype(np.int32)]
    return found


def measure(options: ProbeOptions, peer: bool) -> dict[str, Any]:
    """Times our sweep and, if asked, the peer.

    Raises:
      BenchError: the peer is asked for and PyTorch is not installed.
    """
    data = made(options)
    # The peer first: a library that is not there is known at once.
    theirs = _torch_seconds(data, options) if peer else {}
    ours = _sweep_seconds(data, options)
    return {
        "options": {
            name: value
            for name, value in dataclasses.asdict(options).items()
            if name not in PRIVATE
        },
        "pathjax": ours,
        "peer_seconds_a_step": theirs,
        "peer_seconds": {name: one * ours["steps"] for name, one in theirs.items()},
    }


def _sweep_seconds(data, options: ProbeOptions) -> dict[str, Any]:
    import jax

    from pathjax.evals.probes.eva_linear import EvaLinear, linear_sweep

    protocol = EvaLinear(steps=options.max_steps)

    def run():
        begun = time.perf_counter()
        sweep = linear_sweep(
            *data,
            data[2],
            np.arange(options.runs),
            np.array(protocol.learning_rates, np.float32),
            classes=2,
            options=protocol,
        )
        jax.block_until_ready(sweep)
        return time.perf_counter() - begun, sweep

    (cold, _), (warm, sweep) = run(), run()
    epochs = np.asarray(sweep.epochs)[:, 0]
    return {
        "cold_seconds": cold,
        "warm_seconds": warm,
        "epochs": epochs.tolist(),
        "steps": int(epochs.sum()) * -(-options.rows // protocol.batch),
        "balanced_accuracy": np.asarray(sweep.score)[:, 0].tolist(),
    }


def _torch_seconds(data, options: ProbeOptions) -> dict[str, float]:
    """Seconds a step of each kind of loop."""
    try:
        import torch
    except ImportError as error:
        raise BenchError(
            "bench probe --peer needs PyTorch in this interpreter: install torch"
        ) from error
    torch.set_num_threads(options.peer_threads)
    x, y = torch.tensor(data[0]), torch.tensor(data[1], dtype=torch.float32)

    def cut():
        for rows in torch.randperm(len(x)).split(256):
            yield x[rows], y[rows]

    dataset = torch.utils.data.TensorDataset(x, y)
    loader = torch.utils.data.DataLoader(dataset, batch_size=256, shuffle=True)

    def seconds(batches) -> float:
        layer = torch.nn.Linear(options.width, 1)
        optimiser = torch.optim.AdamW(layer.parameters(), lr=3e-4)
        begun, done = time.perf_counter(), 0
        while True:
            for features, target in batches():
                optimiser.zero_grad()
                torch.nn.functional.binary_cross_entropy_with_logits(
                    layer(features)[:, 0], target
                ).backward()
                optimiser.step()
                done += 1
                if done == options.peer_steps:
                    return (time.perf_counter() - begun) / done

    return {"torch": seconds(cut), "torch, DataLoader": seconds(lambda: iter(loader))}


def show(found: dict[str, Any]) -> None:
    """Prints the result as a table."""
    from rich.console import Console
    from rich.table import Table

    ours, options = found["pathjax"], found["options"]
    table = Table(
        title=f"{options['runs']} runs of eva's linear probe on {options['rows']} x "
        f"{options['width']}, {ours['steps']} steps in all"
    )
    for title in ("contestant", "seconds", "pathjax, compiling, is faster by"):
        table.add_column(title, justify="left" if title == "contestant" else "right")
    cold = ours["cold_seconds"]
    table.add_row("pathjax, compiling", f"{cold:.2f}", "")
    table.add_row("pathjax, compiled", f"{ours['warm_seconds']:.2f}", "")
    for name, seconds in found["peer_seconds"].items():
        table.add_row(
            f"{name} (from {options['peer_steps']} steps)",
            f"{seconds:.1f}",
            f"{seconds / cold:.1f}x",
        )
    Console().print(table)
