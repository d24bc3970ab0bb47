"""Models of natural images: DINO and DINOv2, which pathology models start from."""

from pathjax.models.variants import vit_config
from pathjax.zoo.entry import IMAGENET, TIMM, Entry, github, hub, timm_reference

_SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}


def _dino(size: str, patch: int) -> Entry:
    architecture = f"vit_{_SIZES[size]}_patch{patch}_224"
    return Entry(
        name=f"dino-vit{size}{patch}",
        title=f"DINO ViT-{size.upper()}/{patch}",
        vit=vit_config(f"{size.upper()}/{patch}", **IMAGENET),
        source=f"timm:{architecture}.dino",
        reference=timm_reference(architecture),
        preprocess=(248, 224, "bicubic"),  # timm's crop of 0.9 of the side
        licence="Apache-2.0",
        licence_url=github("facebookresearch/dino", "main", "LICENSE"),
        share_derivatives=True,
        pretrained_on_tcga=False,
        pretraining="DINO on ImageNet-1k",
        sources=(TIMM, hub("facebook/dino-vits16")),
    )


def _dinov2(size: str, registers: int) -> Entry:
    variant = f"{size if size == 'g' else size.upper()}/14"
    suffix = f"_reg{registers}" if registers else ""
    architecture = f"vit_{_SIZES[size]}_patch14{suffix}_dinov2"
    # timm's files have the position of CLS added to CLS itself
    shape = {"registers": registers, "no_embed_class": registers > 0}
    method = "DINOv2" if size == "g" else "distilled from DINOv2 ViT-g/14"
    return Entry(
        name=f"dinov2-vit{size}14{suffix.replace('_', '-')}",
        title=f"DINOv2 ViT-{variant}" + (" with registers" if registers else ""),
        vit=vit_config(variant, image_px=518, layerscale=1e-5, **shape, **IMAGENET),
        source=f"timm:{architecture}.lvd142m",
        reference=timm_reference(architecture, 518),
        preprocess=(518, 518, "bicubic"),
        licence="Apache-2.0",
        licence_url=github("facebookresearch/dinov2", "main", "LICENSE"),
        share_derivatives=True,
        pretrained_on_tcga=False,
        pretraining=f"{method} on LVD-142M",
        sources=(TIMM, github("facebookresearch/dinov2", "main", "MODEL_CARD.md")),
    )


ENTRIES = (
    *(_dino(size, patch) for size in "sb" for patch in (16, 8)),
    *(_dinov2(size, registers) for registers in (0, 4) for size in _SIZES),
)
