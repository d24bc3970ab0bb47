"""`pathjax bench probe --peer`: a loop of PyTorch that fits the same linear layer."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathjax.bench.worker import Contestant, serve

BATCH = 256


class TorchLoop(Contestant):
    """Steps of one run, with batches from tensor slices or from a DataLoader."""

    def __init__(self, options: dict[str, Any]):
        torch.set_num_threads(options["peer_threads"])
        self._options = options
        with np.load(Path(options["folder"]) / "features.npz") as file:
            self._x = torch.tensor(file["train_x"])
            self._y = torch.tensor(file["train_y"], dtype=torch.float32)
        data = torch.utils.data.TensorDataset(self._x, self._y)
        self._loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True)
        self.info = {
            "unit": "steps",
            "versions": {"torch": torch.__version__},
            "threads": options["peer_threads"],
            "note": "no validation",
        }

    def _batches(self):
        if self._options["kind"] == "loader":
            yield from self._loader
            return
        for rows in torch.randperm(len(self._x)).split(BATCH):
            yield self._x[rows], self._y[rows]

    def run(self, count: int) -> int:
        """`count` times `peer_steps` steps."""
        layer = torch.nn.Linear(self._x.shape[1], 1)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=3e-4)
        loss = torch.nn.functional.binary_cross_entropy_with_logits
        steps, done = count * self._options["peer_steps"], 0
        while True:
            for features, target in self._batches():
                optimizer.zero_grad()
                loss(layer(features)[:, 0], target).backward()
                optimizer.step()
                done += 1
                if done == steps:
                    return steps


if __name__ == "__main__":
    serve(TorchLoop)
