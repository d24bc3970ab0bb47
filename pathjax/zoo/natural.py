"""Models of natural images: DINO and DINOv2, which pathology models start from."""

from pathjax.models.variants import vit_config
from pathjax.zoo.entry import IMAGENET, TIMM, Entry, github, hub, timm_reference

_SIZES = {"s": "small", "b": "base", "l": "large", "g": "giant"}
# Of the files that the DINOv2 repository links to, by size and registers.
_SHA256 = {
    ("s", 0): "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    ("s", 4): "f433177089a681826f849f194ece3bb48f4d63fb38d32fc837e3dc7a4e5641fb",
    ("b", 0): "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    ("b", 4): "73182a088cf94833c94b1666d1c99e02fe87e2007bff57b564fb6206e25dba71",
    ("l", 0): "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    ("l", 4): "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51",
    ("g", 0): "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3",
    ("g", 4): "746ecb8c6301c645c5c855be91687d274587d6e48fdaec4a729753160b34a283",
}
_CHECKSUMS = github(
    "finegrain-ai/refiners", "30dbf44", "src/refiners/conversion/models/dinov2.py"
)


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
        sources=(
            TIMM,
            github("facebookresearch/dinov2", "main", "MODEL_CARD.md"),
            _CHECKSUMS,
        ),
        sha256=(_SHA256[size, registers],),
    )


ENTRIES = (
    *(_dino(size, patch) for size in "sb" for patch in (16, 8)),
    *(_dinov2(size, registers) for registers in (0, 4) for size in _SIZES),
)
