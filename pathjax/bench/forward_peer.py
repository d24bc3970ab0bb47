"""`pathjax bench forward --peer`: the same embedding by timm's ViT, eager.

Runs under any interpreter that has torch and timm; pathjax's own dependencies are not
needed.
"""

from typing import Any

import torch

from pathjax.bench.step_peer import TorchContestant, make_vit, normalised
from pathjax.bench.worker import serve

WARM_UP = 2  # batches


class TorchForward(TorchContestant):
    """The encoder in `inference_mode`, in the faster memory format."""

    def __init__(self, options: dict[str, Any]):
        super().__init__(options)
        self._model = make_vit(options).eval()
        layout, seconds = self._choose_layout()
        self.run(WARM_UP)
        self.info = self._describe(layout, seconds)

    def run(self, count: int) -> int:
        """`count` batches."""
        with (
            torch.inference_mode(),
            torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16),
        ):
            for _ in range(count):
                self._model(normalised(self._image)).float()
        return count * len(self._image)


if __name__ == "__main__":
    serve(TorchForward)
