"""Which part of an encoder is trained: all, its last blocks, adapters, or nothing.

| mode | trained | reads |
|---|---|---|
| "full" | the encoder and the heads | tiles |
| "last" | the last `blocks` blocks, the final norm, the heads | tiles |
| "lora" | low-rank adapters in each block, the heads | tiles |
| "towers" | the heads | embeddings, computed once |

The options only: `optim.split_frozen` freezes, `models/lora.py` has the adapters.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, Literal

from pathjax.models.blocks import block_name
from pathjax.models.lora import DOWN, TARGETS, UP, LoRA
from pathjax.models.variants import ViTConfig

Mode = Literal["full", "last", "lora", "towers"]
MODES: tuple[Mode, ...] = ("full", "last", "lora", "towers")


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """Which part of the encoder is trained.

    Attributes:
      mode: "full", "last" (blocks), "lora" (adapters) or "towers" (only the heads).
      blocks: Number of blocks, for "last".
      rank: Rank of the adapters, for "lora".
      alpha: Scale of the adapters, for "lora": their output is multiplied by alpha / rank.
      targets: Linears of a block that get adapters, for "lora".
    """

    mode: Mode = "full"
    blocks: int = 2
    rank: int = 8
    alpha: float = 8.0
    targets: Sequence[str] = TARGETS

    def problems(self) -> list[str]:
        """All invalid options, a phrase each."""
        problems = []
        if self.mode not in MODES:
            problems.append(f"adapt.mode={self.mode!r}: expected one of {MODES}")
        if self.mode == "last" and self.blocks < 1:
            problems.append(f"adapt.blocks={self.blocks}: expected at least 1")
        if self.mode == "lora":
            try:
                self.lora()
            except ValueError as error:
                problems.append(f"adapt: {error}")
        return problems

    def lora(self) -> LoRA | None:
        """The adapters' options, None in other modes."""
        if self.mode != "lora":
            return None
        targets: Any = tuple(self.targets)  # checked by LoRA
        return LoRA(self.rank, self.alpha, targets)

    def frozen(self, vit: ViTConfig) -> tuple[str, ...]:
        """Patterns of parameters that are not trained, for `split_frozen`.

        Raises:
          ValueError: Blocks are stacked, or fewer than `blocks`.
        """
        if self.mode == "lora":
            return (rf"^vit/(?!.*/({DOWN}|{UP})$)",)
        if self.mode != "last":
            return ()
        if vit.scan:
            raise ValueError(
                "adapt.mode='last' cannot freeze some blocks of a stack of all: set "
                "model.scan=false"
            )
        if self.blocks > vit.depth:
            raise ValueError(
                f"adapt.blocks={self.blocks}: the encoder has {vit.depth} blocks"
            )
        first = vit.depth - self.blocks
        names = [re.escape(block_name(i)) for i in range(first, vit.depth)]
        return (rf"^vit/(?!({'|'.join(['norm', *names])})/)",)
