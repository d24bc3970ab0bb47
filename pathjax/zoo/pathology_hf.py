"""Pathology models whose files have the names of tensors of transformers' classes.

Position embeddings are resized as in these classes: ViT and Dinov2 use PyTorch's plain
bicubic, Dinov2WithRegisters the antialiased one, which is timm's rule too.
"""

from typing import Any

from pathjax.models.variants import ViTConfig, vit_config
from pathjax.zoo.entry import HALF, IMAGENET, TRIDENT, Entry, github, hub, lazyslide

_TRANSFORMERS = "huggingface/transformers"
_MODELS = "src/transformers/models"
_DINOV2 = github(_TRANSFORMERS, "015e687", f"{_MODELS}/dinov2/modeling_dinov2.py")
_REGISTERS = github(
    _TRANSFORMERS,
    "015e687",
    f"{_MODELS}/dinov2_with_registers/modeling_dinov2_with_registers.py",
)


def _reference(vit: ViTConfig) -> tuple[str, dict[str, Any]]:
    """The class of transformers and its config."""
    config = {
        "hidden_size": vit.width,
        "num_hidden_layers": vit.depth,
        "num_attention_heads": vit.heads,
        "image_size": vit.image_px,
        "patch_size": vit.patch,
        "layer_norm_eps": vit.norm_eps,
        "hidden_act": "gelu",
        "qkv_bias": True,
    }
    if vit.layerscale is None:
        return "ViTModel", {**config, "intermediate_size": vit.mlp_dim}
    config |= {
        "mlp_ratio": 4,  # for SwiGLU of 2/3 of it, rounded up to a multiple of 8
        "use_swiglu_ffn": vit.mlp == "swiglu",
        "layerscale_value": vit.layerscale,
    }
    if not vit.registers:
        return "Dinov2Model", config
    config["num_register_tokens"] = vit.registers
    return "Dinov2WithRegistersModel", config


_PHIKON_VIT = vit_config("B/16", norm_eps=1e-12, positions="torch", **IMAGENET)
_PHIKON = Entry(
    name="phikon",
    title="Phikon",
    vit=_PHIKON_VIT,
    layout="hf_vit",
    source="hf:owkin/phikon/model.safetensors",
    reference=_reference(_PHIKON_VIT),
    preprocess=(224, 224, "bilinear"),
    licence="Owkin non-commercial",
    licence_url=github("owkin/HistoSSLscaling", "main", "LICENSE.txt"),
    share_derivatives=True,  # not for commerce and on the same terms
    pretrained_on_tcga=True,
    pretraining="iBOT on 40 M tiles of TCGA",
    sources=(
        f"{hub('owkin/phikon')}/blob/main/config.json",
        github("owkin/HistoSSLscaling", "73f1d19", "README.md"),
        github(_TRANSFORMERS, "005db82", f"{_MODELS}/vit/modeling_vit.py"),
        TRIDENT,
        lazyslide("phikon.py"),
    ),
)

_PHIKON_V2_VIT = vit_config("L/16", layerscale=1.0, positions="torch", **IMAGENET)
_PHIKON_V2 = Entry(
    name="phikon-v2",
    title="Phikon-v2",
    vit=_PHIKON_V2_VIT,
    layout="hf_dinov2",
    source="hf:owkin/phikon-v2/model.safetensors",
    reference=_reference(_PHIKON_V2_VIT),
    preprocess=(224, 224, "bilinear"),
    licence="Owkin non-commercial",
    licence_url=f"{hub('owkin/phikon-v2')}/blob/main/LICENSE.pdf",
    share_derivatives=None,
    pretrained_on_tcga=True,
    pretraining="DINOv2 on 450 M tiles of TCGA, CPTAC and GTEx",
    sources=(
        f"{hub('owkin/phikon-v2')}/blob/main/config.json",
        f"{hub('owkin/phikon-v2')}/blob/main/README.md",
        _DINOV2,
        TRIDENT,
        lazyslide("phikon.py"),
    ),
    # TRIDENT's; the model's own processor may resize by bicubic
    unknown=("preprocess", "share_derivatives"),
)


def _hibou(size: str, mlp_dim: int) -> Entry:
    base = size == "B"
    repository = "histai/hibou-b" if base else "histai/hibou-L"
    card = hub(repository)
    # The file has a position for CLS, which is a constant added to CLS.
    shape = {"registers": 4, "no_embed_class": True, "layerscale": 1.0}
    pixels = {"mean": (0.7068, 0.5755, 0.722), "std": (0.195, 0.2316, 0.1816)}
    vit = vit_config(f"{size}/14", mlp="swiglu", mlp_dim=mlp_dim, **shape, **pixels)
    data = "a private dataset" if base else "1.2 G tiles of a private dataset"
    return Entry(
        name=f"hibou-{size.lower()}",
        title=f"Hibou-{size}",
        vit=vit,
        layout="hf_dinov2",
        source=f"hf:{repository}/model.safetensors",
        reference=_reference(vit),
        preprocess=(224, 224, "bicubic"),
        licence="Apache-2.0",
        licence_url=github("HistAI/hibou", "main", "LICENSE"),
        share_derivatives=True,
        gated=not base,
        pretrained_on_tcga=False,
        pretraining=f"DINOv2 on {data}",
        sources=(
            f"{card}/blob/main/config.json" if base else card,
            github("HistAI/hibou", "c453bbe", "hibou/models/__init__.py"),
            _REGISTERS,
            TRIDENT,
            lazyslide("hibou.py"),
        ),
        # Hibou's own code and transformers agree; the code on the hub was not read
        unknown=("vit.positions",) if base else ("vit.positions", "vit.norm_eps"),
    )


# 1.14 G parameters in 4.55 GB are those of a 37 x 37 grid
_MIDNIGHT_SHAPE = {"image_px": 518, "layerscale": 1.0, "pool": "cls_mean"}
_MIDNIGHT_VIT = vit_config("g/14", positions="torch", **_MIDNIGHT_SHAPE, **HALF)
_MIDNIGHT = Entry(
    name="midnight-12k",
    title="Midnight-12k",
    vit=_MIDNIGHT_VIT,
    layout="hf_dinov2",
    source="hf:kaiko-ai/midnight/model.safetensors",
    reference=_reference(_MIDNIGHT_VIT),
    preprocess=(224, 224, "bilinear"),
    licence="MIT",
    licence_url=hub("kaiko-ai/midnight"),
    share_derivatives=True,
    pretrained_on_tcga=True,
    pretraining="DINOv2 on 12 k slides of TCGA",
    sources=(
        hub("kaiko-ai/midnight"),
        github("kaiko-ai/Midnight", "e48dce1", "README.md"),
        _DINOV2,
        TRIDENT,
        lazyslide("midnight.py"),
    ),
    # those of facebook/dinov2-giant, which it continues
    unknown=("vit.norm_eps", "vit.layerscale"),
)

ENTRIES = (_PHIKON, _PHIKON_V2, _hibou("B", 2048), _hibou("L", 2736), _MIDNIGHT)
