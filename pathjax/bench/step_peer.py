"""`pathjax bench step --peer`: the same training step in PyTorch.

timm's ViT, the same expression MLP, InfoNCE and AdamW, eager; the fastest memory format
and AdamW implementation are chosen by timing them here. Runs under any interpreter that
has torch and timm; pathjax's own dependencies are not needed.
"""

import math
import time
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import nn

from pathjax.bench.worker import Contestant, serve, torch_matrix

WARM_UP = 2  # steps
ADAMW = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_vit(options: dict[str, Any]) -> nn.Module:
    """timm's ViT of the shape in `options`."""
    vit = options["vit"]
    return timm.create_model(
        "vit_small_patch16_224",
        num_classes=0,
        img_size=options["image_px"],
        patch_size=vit["patch"],
        embed_dim=vit["width"],
        depth=vit["depth"],
        num_heads=vit["heads"],
        mlp_ratio=vit["mlp_dim"] / vit["width"],
        act_layer=None if options["gelu"] == "exact" else "gelu_tanh",
    )


def normalised(image: torch.Tensor) -> torch.Tensor:
    """`image [B, 3, H, W] uint8` normalised with ImageNet's statistics, float32."""
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1)
        for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return (image.float() / 255 - mean) / std


class Model(nn.Module):
    """Both towers; returns unit vectors and the clipped log of the temperature."""

    def __init__(self, options: dict[str, Any]):
        super().__init__()
        vit = options["vit"]
        self.vit = make_vit(options)
        width, layers = options["width"], []
        for i in range(options["layers"]):
            layers += [
                nn.Linear(width if i else options["genes"], width),
                nn.LayerNorm(width),
                nn.GELU(),
                nn.Dropout(0.1),
            ]
        self.expression = nn.Sequential(*layers)
        self.image_head = nn.Linear(vit["width"], options["embed_dim"], bias=False)
        self.expression_head = nn.Linear(width, options["embed_dim"], bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image: torch.Tensor, genes: torch.Tensor):
        """`image [B, 3, H, W] uint8`, `genes [B, G]`."""
        pooled = self.vit(normalised(image))
        z_image = F.normalize(self.image_head(pooled).float(), dim=-1)
        z_genes = self.expression_head(self.expression(genes)).float()
        return z_image, F.normalize(z_genes, dim=-1), self.log_scale.clamp(max=4.6052)


def info_nce(z_image, z_genes, log_scale) -> torch.Tensor:
    """Symmetric InfoNCE (Radford et al. 2021)."""
    logits = log_scale.exp() * z_image @ z_genes.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


class TorchContestant(Contestant):
    """What the peers of `bench step` and `bench forward` share.

    A subclass sets `_model`, and `_image [B, 3, H, W] uint8`.
    """

    _model: nn.Module

    def __init__(self, options: dict[str, Any]):
        torch.set_num_threads(options["threads"])
        torch.manual_seed(0)
        self._bfloat16 = options["dtype"] == "bfloat16"
        self._random = np.random.default_rng(0)
        count, px = options["batch"], options["image_px"]
        image = self._random.integers(0, 256, (count, 3, px, px), np.uint8)
        self._image = torch.from_numpy(image)

    def matrix(self) -> dict[str, float]:
        return {} if self._bfloat16 else torch_matrix()

    def _describe(self, note: str, tried: dict[str, float]) -> dict[str, Any]:
        return {
            "versions": {"torch": torch.__version__, "timm": timm.__version__},
            "threads": torch.get_num_threads(),
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "note": f"chosen as fastest: {note}",
            "tried_seconds": tried,
        }

    def _choose_layout(self) -> tuple[str, dict[str, float]]:
        """Times both memory formats and keeps the faster."""
        plain, seconds = self._image, {}
        formats = {
            "contiguous": torch.contiguous_format,
            "channels last": torch.channels_last,
        }

        def use(name: str) -> None:
            self._image = plain.contiguous(memory_format=formats[name])
            self._model.to(memory_format=formats[name])

        for name in formats:
            use(name)
            seconds[name] = best_seconds(lambda: self.run(1), 2)
        best = min(seconds, key=seconds.get)
        use(best)
        return best, seconds


class TorchStep(TorchContestant):
    """The training step."""

    def __init__(self, options: dict[str, Any]):
        super().__init__(options)
        genes = self._random.normal(size=(options["batch"], options["genes"]))
        self._genes = torch.from_numpy(genes.astype(np.float32))
        self._model = Model(options).train()
        adamw, adamw_seconds = self._choose_adamw()
        layout, layout_seconds = self._choose_layout()
        self.run(WARM_UP)
        tried = {f"AdamW {name}": value for name, value in adamw_seconds.items()}
        tried |= {f"step, {name}": value for name, value in layout_seconds.items()}
        self.info = self._describe(f"AdamW {adamw}, {layout}", tried)

    def run(self, count: int) -> int:
        """`count` steps."""
        for _ in range(count):
            self._backward()
            self._optimizer.step()
        return count * len(self._image)

    def _backward(self) -> None:
        self._model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            outputs = self._model(self._image, self._genes)
        info_nce(*outputs).backward()

    def _choose_adamw(self) -> tuple[str, dict[str, float]]:
        """Times torch's implementations of AdamW and keeps the fastest."""
        decayed = [p for p in self._model.parameters() if p.ndim > 1]
        others = [p for p in self._model.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": 0.05},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizers = {
            name: torch.optim.AdamW([dict(g) for g in groups], lr=1e-6, **options)
            for name, options in ADAMW.items()
        }
        self._backward()
        seconds = {name: best_seconds(one.step, 3) for name, one in optimizers.items()}
        best = min(seconds, key=seconds.get)
        self._optimizer = optimizers[best]
        return best, seconds


def best_seconds(action, repeats: int) -> float:
    """The shortest of some timings, after one to warm up."""
    action()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    serve(TorchStep)
