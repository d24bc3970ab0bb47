"""PyTorch's side of `pathjax bench step`, `forward` and `probe`, eager on the CPU.

timm's ViT, the same expression MLP, InfoNCE and AdamW. The fastest memory format and
AdamW implementation are chosen by timing them here. Runs under any interpreter that has
torch and timm; pathjax's own dependencies are not needed.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pathjax.bench.worker import MATRIX_SIDE, Contestant, matrix_rate, time_calls

WARM_UP = 2  # steps
ADAMW = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
ADAMW = {f"AdamW {name}": options for name, options in ADAMW.items()}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
IMAGENET_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
IMAGENET_STD = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
PROBE_BATCH = 256


def make_vit(options: dict[str, Any]) -> nn.Module:
    """timm's ViT of the shape in `options`."""
    import timm

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


def normalise(image: torch.Tensor) -> torch.Tensor:
    """`image [B, 3, H, W] uint8` normalised with ImageNet's statistics, float32."""
    return (image.float() / 255 - IMAGENET_MEAN) / IMAGENET_STD


class LoRALinear(nn.Module):
    """A frozen linear plus an adapter, W x + (alpha / rank) B (A x), alpha = rank.

    Hu et al. 2022; A starts as `nn.Linear` does, B at zero, no dropout.
    """

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.up(self.down(x))


def adapt(vit: nn.Module, rank: int) -> None:
    """Freezes timm's ViT and puts an adapter into all four linears of each block."""
    vit.requires_grad_(False)
    for block in vit.blocks:
        for owner, name in (
            (block.attn, "qkv"),
            (block.attn, "proj"),
            (block.mlp, "fc1"),
            (block.mlp, "fc2"),
        ):
            setattr(owner, name, LoRALinear(getattr(owner, name), rank))


class Model(nn.Module):
    """Both towers; returns unit vectors and the clipped log of the temperature."""

    def __init__(self, options: dict[str, Any]):
        super().__init__()
        self.vit = make_vit(options)
        if "rank" in options:
            adapt(self.vit, options["rank"])
        width, layers = options["width"], []
        for i in range(options["layers"]):
            layers += [
                nn.Linear(width if i else options["genes"], width),
                nn.LayerNorm(width),
                nn.GELU(),
                nn.Dropout(0.1),
            ]
        self.expression = nn.Sequential(*layers)
        embed_dim = options["embed_dim"]
        self.image_head = nn.Linear(options["vit"]["width"], embed_dim, bias=False)
        self.expression_head = nn.Linear(width, embed_dim, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image: torch.Tensor, genes: torch.Tensor):
        """`image [B, 3, H, W] uint8`, `genes [B, G]`."""
        pooled = self.vit(normalise(image))
        z_image = F.normalize(self.image_head(pooled).float(), dim=-1)
        z_genes = self.expression_head(self.expression(genes)).float()
        return z_image, F.normalize(z_genes, dim=-1), self.log_scale.clamp(max=4.6052)


def info_nce(z_image, z_genes, log_scale) -> torch.Tensor:
    """Symmetric InfoNCE (Radford et al. 2021)."""
    logits = log_scale.exp() * z_image @ z_genes.T
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


class TorchForward(Contestant):
    """timm's encoder in `inference_mode`."""

    def __init__(self, options: dict[str, Any]):
        import timm

        torch.set_num_threads(options["threads"])
        torch.manual_seed(0)
        self._bfloat16 = options["dtype"] == "bfloat16"
        self._tried: dict[str, float] = {}
        random = np.random.default_rng(0)
        count, px = options["batch"], options["image_px"]
        image = random.integers(0, 256, (count, 3, px, px), np.uint8)
        self._image = torch.from_numpy(image)
        genes = random.normal(size=(count, options.get("genes", 1)))
        self._genes = torch.from_numpy(genes.astype(np.float32))
        chosen = self._build(options)
        plain = self._image

        def use(name: str) -> Callable[[], object]:
            self._image = plain.contiguous(memory_format=LAYOUTS[name])
            self._model.to(memory_format=LAYOUTS[name])
            return lambda: self.run(1)

        chosen = [*chosen, self._fastest(LAYOUTS, use)]
        self.run(WARM_UP)
        self.info = {
            "versions": {"torch": torch.__version__, "timm": timm.__version__},
            "threads": torch.get_num_threads(),
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "note": f"chosen as fastest: {', '.join(chosen)}",
            "tried_seconds": self._tried,
        }

    def _build(self, options: dict[str, Any]) -> list[str]:
        """Makes the model; returns what was chosen by timing it."""
        self._model = make_vit(options).eval()
        return []

    def _fastest(self, names, use: Callable[[str], Callable[[], object]]) -> str:
        """Times what `use(name)` returns for each name, and uses the fastest."""
        seconds = {name: min(time_calls(use(name), 3)) for name in names}
        self._tried |= seconds
        best = min(seconds, key=seconds.get)
        use(best)
        return best

    def _autocast(self):
        return torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16)

    def run(self, count: int) -> int:
        """`count` batches."""
        with torch.inference_mode(), self._autocast():
            for _ in range(count):
                self._model(normalise(self._image)).float()
        return count * len(self._image)

    def matrix(self) -> dict[str, float]:
        if self._bfloat16:
            return {}
        a, b = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE)
        c, d = a.numpy(), b.numpy()
        return {
            "torch": matrix_rate(lambda: a @ b),
            "numpy": matrix_rate(lambda: np.matmul(c, d)),
        }


class TorchStep(TorchForward):
    """The training step."""

    def _build(self, options: dict[str, Any]) -> list[str]:
        self._model = Model(options).train()
        parameters = [p for p in self._model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self._backward()

        def use(name: str) -> Callable[[], object]:
            copies = [dict(group) for group in groups]
            self._optimizer = torch.optim.AdamW(copies, lr=1e-6, **ADAMW[name])
            return self._optimizer.step

        return [self._fastest(ADAMW, use)]

    def run(self, count: int) -> int:
        """`count` steps."""
        for _ in range(count):
            self._backward()
            self._optimizer.step()
        return count * len(self._image)

    def _backward(self) -> None:
        self._model.zero_grad(set_to_none=True)
        with self._autocast():
            outputs = self._model(self._image, self._genes)
        info_nce(*outputs).backward()


class TorchProbe(Contestant):
    """Steps of a linear probe, with batches from tensor slices or from a DataLoader."""

    def __init__(self, options: dict[str, Any]):
        torch.set_num_threads(options["peer_threads"])
        self._options = options
        with np.load(Path(options["folder"]) / "features.npz") as file:
            self._x = torch.tensor(file["train_x"])
            self._y = torch.tensor(file["train_y"], dtype=torch.float32)
        data = torch.utils.data.TensorDataset(self._x, self._y)
        self._loader = torch.utils.data.DataLoader(data, PROBE_BATCH, shuffle=True)
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
        for rows in torch.randperm(len(self._x)).split(PROBE_BATCH):
            yield self._x[rows], self._y[rows]

    def run(self, count: int) -> int:
        """`count` times `peer_steps` steps."""
        layer = nn.Linear(self._x.shape[1], 1)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=3e-4)
        steps, done = count * self._options["peer_steps"], 0
        while True:
            for features, target in self._batches():
                optimizer.zero_grad()
                logits = layer(features)[:, 0]
                F.binary_cross_entropy_with_logits(logits, target).backward()
                optimizer.step()
                done += 1
                if done == steps:
                    return steps
