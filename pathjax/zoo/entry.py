"""What the registry knows of one public model: an `Entry`, and how large it is.

Facts about published weights, and nothing that reads, downloads or builds them.
"""

import dataclasses
from typing import Any, Literal

from pathjax.models.variants import ViTConfig

Layout = Literal["timm", "hf_vit", "hf_dinov2"]
Interpolation = Literal["bilinear", "bicubic"]

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

# Published names of the sizes by width and depth. UNI2-h is as wide as a giant and as
# deep as a large.
_SIZES = {
    (384, 12): "S",
    (768, 12): "B",
    (1024, 24): "L",
    (1280, 32): "H",
    (1536, 24): "H",
    (1536, 40): "g",
}


class ZooError(ValueError):
    """Weights that cannot be read, imported or exported; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """A public model; every field was checked against `sources`, unless `unknown`.

    Attributes:
      name: Lower-case id on the command line.
      title: Name for display.
      vit: The encoder at the grid of the published weights, with their mean and std, in
        the embedding convention of the model's card.
      layout: Tensor names of the published file: timm's, or those of Hugging Face's ViT
        or Dinov2 (with registers, if the model has any).
      source: "hf:OWNER/REPOSITORY/FILE", "timm:NAME" or "url:ADDRESS".
      reference: The architecture in the library that users run the model in: ("NAME",
        keywords) of `timm.create_model`, or (class, keywords of its config) of
        transformers. "SwiGLUPacked" and "SiLU" stand for timm.layers.SwiGLUPacked and
        torch.nn.SiLU.
      preprocess: (resize the shorter side to, centre crop to, interpolation), antialiased.
      licence, licence_url: Of the weights.
      share_derivatives: Whether derived weights may be shared on the licence's terms,
        which may exclude commerce; None if unknown.
      gated: Whether an account has to accept conditions before it can download.
      pretrained_on_tcga: Whether TCGA slides were seen in pre-training, so that TCGA
        tasks do not test new patients; None if unknown.
      pretraining: Data and method in one phrase.
      sources: Public pages and files that these facts were checked against.
      sha256: Checksums of published files, where a source gives them.
      unknown: Fields that no source settles, `vit`'s as "vit.FIELD"; they hold the
        best documented inference.
    """

    name: str
    title: str
    vit: ViTConfig
    layout: Layout = "timm"
    source: str
    reference: tuple[str, dict[str, Any]]
    preprocess: tuple[int, int, Interpolation]
    licence: str
    licence_url: str
    share_derivatives: bool | None
    gated: bool = False
    pretrained_on_tcga: bool | None
    pretraining: str
    sources: tuple[str, ...]
    sha256: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Numbers in the encoder, heads and mask tokens not counted."""
        return count_parameters(self.vit)

    @property
    def architecture(self) -> str:
        """As in "ViT-g/14, SwiGLU, 4 registers"."""
        return describe(self.vit)


def describe(vit: ViTConfig) -> str:
    """As in "ViT-g/14, SwiGLU, 4 registers"."""
    size = _SIZES.get((vit.width, vit.depth), f"{vit.width}x{vit.depth}")
    gated = ", SwiGLU" if vit.mlp == "swiglu" else ""
    registers = f", {vit.registers} registers" if vit.registers else ""
    return f"ViT-{size}/{vit.patch}{gated}{registers}"


def count_parameters(vit: ViTConfig) -> int:
    """Returns how many numbers a ViT of this shape has; adapters are not counted."""
    d, m = vit.width, vit.mlp_dim
    prefix = 1 + vit.registers
    positions = vit.grid**2 + (0 if vit.no_embed_class else prefix)
    embedding = _linear(3 * vit.patch**2, d) + (prefix + positions) * d
    hidden = 2 * m if vit.mlp == "swiglu" else m  # output of fc1
    block = _linear(d, 3 * d) + _linear(d, d) + _linear(d, hidden) + _linear(m, d)
    block += 2 * 2 * d  # norm1, norm2
    if vit.layerscale is not None:
        block += 2 * d
    return embedding + vit.depth * block + 2 * d  # and the final norm


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def timm_reference(
    architecture: str, image_px: int = 224, **kwargs: Any
) -> tuple[str, dict[str, Any]]:
    """A `reference` of timm's, without head and for any image size."""
    shared = {"img_size": image_px, "num_classes": 0, "dynamic_img_size": True}
    return architecture, {**shared, **kwargs}


def github(repository: str, commit: str, path: str) -> str:
    """The page of a file at the commit that was checked."""
    return f"https://github.com/{repository}/blob/{commit}/{path}"


def hub(repository: str) -> str:
    """The page of a repository on the Hugging Face hub."""
    return f"https://huggingface.co/{repository}"


def eva(file: str) -> str:
    """A source in kaiko-eva."""
    folder = "src/eva/vision/models/networks/backbones/pathology"
    return github("kaiko-ai/eva", "73b61a7", f"{folder}/{file}")


def lazyslide(file: str) -> str:
    """A source in lazyslide-models."""
    folder = "src/lazyslide_models/vision"
    return github("rendeirolab/lazyslide-models", "0127beb", f"{folder}/{file}")


TIMM = github(
    "huggingface/pytorch-image-models", "aa4b585", "timm/models/vision_transformer.py"
)
TRIDENT = github(
    "mahmoodlab/TRIDENT", "a91fa84", "trident/patch_encoder_models/load.py"
)
