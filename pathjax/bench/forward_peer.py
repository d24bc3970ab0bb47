"""`pathjax bench forward --peer`: the same embedding by timm's ViT, in a worker.

Eager, `inference_mode`, in the memory format that is faster here. Runs under any
interpreter that has torch and timm; pathjax's own dependencies are not needed.
"""

from typing import Any

import numpy as np
import timm
import torch

from pathjax.bench.step_peer import best_seconds, make_vit, normalised
from pathjax.bench.worker import serve

WARM_UP = 2  # batches


class TorchForward:
    """The contestant; see `worker.Contestant`."""

    def __init__(self, options: dict[str, Any]):
        torch.set_num_threads(options["threads"])
        torch.manual_seed(0)
        self._bfloat16 = options["autocast"]
        random = np.random.default_rng(0)
        px = options["image_px"]
        image = random.integers(0, 256, (options["batch"], 3, px, px), np.uint8)
        self._image = torch.from_numpy(image)
        self._model = make_vit(options).eval()
        layout, seconds = self._choose_layout()
        self.run(WARM_UP)
        self.info = {
            "versions": {"torch": torch.__version__, "timm": timm.__version__},
            "threads": torch.get_num_threads(),
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "note": f"chosen as fastest: {layout}",
            "tried_seconds": seconds,
        }

    def prepare(self) -> None:
        """Nothing goes on between turns."""

    def run(self, count: int) -> int:
        """`count` batches."""
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16),
        ):
            for _ in range(count):
                self._model(normalised(self._image)).float()
        return count * len(self._image)

    def matrix(self) -> dict[str, float]:
        if self._bfloat16:  # the float32 contestant measures it
            return {}
        from pathjax.bench.matrix import torch_matrix

        return torch_matrix()

    def _choose_layout(self) -> tuple[str, dict[str, float]]:
        """Times both memory formats and keeps the faster."""
        plain, seconds = self._image, {}
        formats = {
            "contiguous": torch.contiguous_format,
            "channels last": torch.channels_last,
        }
        for name, layout in formats.items():
            self._image = plain.contiguous(memory_format=layout)
            self._model.to(memory_format=layout)
            seconds[name] = best_seconds(lambda: self.run(1), 2)
        best = min(seconds, key=seconds.get)
        self._image = plain.contiguous(memory_format=formats[best])
        self._model.to(memory_format=formats[best])
        return best, seconds


if __name__ == "__main__":
    serve(TorchForward)
