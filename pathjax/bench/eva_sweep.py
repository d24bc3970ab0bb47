"""Our side of `bench eva`: from an embedding file to the scores of all runs, timed.

    embeddings.h5, manifest.csv -> linear_sweep -> scores, epochs, seconds

The clock starts before JAX is imported and stops when the last run has: importing,
reading and compiling count. It runs in a process of its own, so that nothing is
compiled before; where compiled programs are kept is for the caller to say.
"""

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np

from pathjax.bench.worker import serve


def read_folds(folder: Path) -> list[np.ndarray]:
    """Features and classes of train, then of val."""
    import h5py

    with h5py.File(folder / "embeddings.h5", "r") as file:
        features = file["features"][:]
        row = {name: i for i, name in enumerate(file["tile_id"].asstr()[:])}
    found = []
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        manifest = list(csv.DictReader(file))
    for split in ("train", "val"):
        rows = [one for one in manifest if one["split"] == split]
        found.append(
            features[[row[one["origin"].removesuffix(".png")] for one in rows]]
        )
        found.append(np.array([int(one["target"]) for one in rows], np.int32))
    return found


class Sweep:
    """The contestant; its work is done when it is made, and it takes no turns."""

    def __init__(self, options: dict[str, Any]):
        begun = time.perf_counter()
        import jax

        from pathjax.evals.probes.eva_linear import EvaLinear, linear_sweep

        imported = time.perf_counter()
        data = read_folds(Path(options["folder"]))
        read = time.perf_counter()
        protocol = EvaLinear(steps=options["max_steps"])
        sweep = linear_sweep(
            *data,
            data[2],
            np.arange(options["runs"]),
            np.array(protocol.learning_rates, np.float32),
            classes=options["classes"],
            options=protocol,
        )
        jax.block_until_ready(sweep)
        end = time.perf_counter()
        epochs = np.asarray(sweep.epochs)[:, 0]
        self.info = {
            "versions": {"jax": jax.__version__},
            "seconds": end - begun,
            "parts": {
                "import": imported - begun,
                "read": read - imported,
                "compile and fit": end - read,
            },
            "scores": np.asarray(sweep.score)[:, 0].tolist(),
            "epochs": epochs.tolist(),
            "steps": int(epochs.sum()) * -(-len(data[0]) // protocol.batch),
        }


if __name__ == "__main__":
    serve(Sweep)
