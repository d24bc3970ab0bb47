"""How much of an encoder is trained: all, its last blocks, adapters, or nothing.

| mode | trained | reads |
|---|---|---|
| "full" | the encoder and what stands on it | tiles |
| "last" | the last `blocks` blocks, the final norm, what stands on it | tiles |
| "lora" | low-rank adapters in each block, what stands on it | tiles |
| "towers" | what stands on the encoder | embeddings, cached once |

Here are the choices as plain values; `optim.split_frozen` freezes, `models/lora.py` has
the adapters.
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
    """Attributes:
    mode: what is trained.
    blocks: of "last", how many.
    rank, alpha, targets: of "lora".
    """

    mode: Mode = "full"
    blocks: int = 2
    rank: int = 8
    alpha: float = 8.0
    targets: Sequence[str] = TARGETS

    def problems(self) -> list[str]:
        """What is wrong with the options, for one error with everything."""
        found = []
        if self.mode not in MODES:
            found.append(f"adapt.mode={self.mode!r}: wanted one of {MODES}")
        if self.mode == "last" and self.blocks < 1:
            found.append(f"adapt.blocks={self.blocks}: wanted at least 1")
        if self.mode == "lora":
            try:
                self.lora()
            except ValueError as error:
                found.append(f"adapt: {error}")
        return found

    def lora(self) -> LoRA | None:
        """The adapters' options, None in other modes."""
        if self.mode != "lora":
            return None
        targets: Any = tuple(self.targets)  # checked by LoRA
        return LoRA(self.rank, self.alpha, targets)

    def frozen(self, vit: ViTConfig) -> tuple[str, ...]:
        """Patterns of `split_frozen` for what is not trained.

        Raises:
          ValueError: the last blocks of a stack, or more than there are.
        """
        if self.mode == "lora":
            return (rf"^vit/(?!.*/({DOWN}|{UP})$)",)
        if self.mode != "last":
            return ()
        if vit.scan:
            raise ValueError(
                "adapt.mode='last' trains some blocks and freezes others, which a stack "
                "of all cannot: set model.scan=false"
            )
        if self.blocks > vit.depth:
            raise ValueError(
                f"adapt.blocks={self.blocks}: the encoder has {vit.depth} blocks"
            )
        first = vit.depth - self.blocks
        names = [re.escape(block_name(i)) for i in range(first, vit.depth)]
        return (rf"^vit/(?!({'|'.join(['norm', *names])})/)",)
