"""Pathology models whose files have timm's names of tensors.

Those that come in Hugging Face's layouts are in `pathology_hf.py`.
"""

from pathjax.models.variants import ViTConfig, vit_config
from pathjax.zoo.entry import (
    HALF,
    IMAGENET,
    TIMM,
    TRIDENT,
    Entry,
    eva,
    github,
    hub,
    lazyslide,
    timm_reference,
)

_KAIKO = "kaiko-ai/towards_large_pathology_fms"
_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
_CC_BY_NC_ND = "https://creativecommons.org/licenses/by-nc-nd/4.0/"
_APACHE = "https://www.apache.org/licenses/LICENSE-2.0"
_REGISTERS = {"registers": 4, "no_embed_class": True, "layerscale": 1e-5}
_UNI_TERMS = {
    "licence": "CC-BY-NC-ND-4.0",
    "licence_url": github(
        "mahmoodlab/UNI", "main", "README.md#license-and-terms-of-tuse"
    ),
    "share_derivatives": False,
    "gated": True,
}
_UNI_CODE = github("mahmoodlab/UNI", "42715ef", "uni/get_encoder/get_encoder.py")
_BIOPTIMUS = {
    "mean": (0.707223, 0.578729, 0.703617),
    "std": (0.211883, 0.230117, 0.177517),
}


def _kaiko(size: str, patch: int) -> Entry:
    large = size == "l"
    architecture = {"s": "vit_small", "b": "vit_base", "l": "vit_large"}[size]
    kind = "reg4_dinov2" if large else "224"
    # the large file's 1.22 GB are those of a 37 x 37 grid, and timm builds that one
    image_px = 518 if large else 224
    shape = {"image_px": image_px, **(_REGISTERS if large else {})}
    return Entry(
        name=f"kaiko-vit{size}{patch}",
        title=f"kaiko ViT-{size.upper()}/{patch}",
        vit=vit_config(f"{size.upper()}/{patch}", **shape, **HALF),
        source=f"url:https://github.com/{_KAIKO}/releases/download/0.0.1/"
        f"vit{size}{patch}.pth",
        reference=timm_reference(f"{architecture}_patch{patch}_{kind}", image_px),
        preprocess=(224, 224, "bilinear"),
        licence="Kaiko non-commercial 1",
        licence_url=github(_KAIKO, "main", "LICENSE"),
        share_derivatives=True,  # not for commerce and on the same terms
        pretrained_on_tcga=True,
        pretraining=f"{'DINOv2' if large else 'DINO'} on TCGA",
        sources=(
            github(_KAIKO, "bfcde17", "hubconf.py"),
            github(_KAIKO, "bfcde17", "README.md"),
            "https://arxiv.org/abs/2404.15217",
            TRIDENT,
        ),
    )


def _lunit(patch: int) -> Entry:
    repository = "lunit-io/benchmark-ssl-pathology"
    file = f"dino_vit_small_patch{patch}_ep200.torch"
    return Entry(
        name=f"lunit-vits{patch}",
        title=f"Lunit DINO ViT-S/{patch}",
        vit=vit_config(
            f"S/{patch}",
            mean=(0.70322989, 0.53606487, 0.66096631),
            std=(0.21716536, 0.26081574, 0.20723464),
        ),
        source=f"url:https://github.com/{repository}/releases/download/"
        f"pretrained-weights/{file}",
        reference=timm_reference(f"vit_small_patch{patch}_224"),
        preprocess=(224, 224, "bilinear"),
        licence="Lunit non-commercial",
        licence_url=github(repository, "main", "LICENSE"),
        share_derivatives=True,  # not for commerce
        pretrained_on_tcga=True,
        pretraining="DINO on 19 M tiles of TCGA",
        sources=(github(repository, "d0288de", "README.md"), eva("lunit.py"), TRIDENT),
        unknown=("preprocess",),
    )


def _h_optimus(version: int) -> Entry:
    first = version == 0
    page = hub(f"bioptimus/H-optimus-{version}")
    release = github("bioptimus/releases", "218eb7e", "models/h-optimus/v0/README.md")
    if not first:
        release = (
            "https://resources.bioptimus.com/bioptimus-launches-h-optimus-1"
            "-a-state-of-the-art-foundation-model-for-pathology"
        )
    data = "1 M proprietary slides of 800 k patients"
    return Entry(
        name=f"h-optimus-{version}",
        title=f"H-optimus-{version}",
        vit=vit_config("g/14", **_REGISTERS, **_BIOPTIMUS),
        source=f"hf:bioptimus/H-optimus-{version}/pytorch_model.bin",
        reference=timm_reference("vit_giant_patch14_reg4_dinov2"),
        preprocess=(224, 224, "bicubic"),
        licence="Apache-2.0" if first else "CC-BY-NC-ND-4.0",
        licence_url=_APACHE if first else _CC_BY_NC_ND,
        share_derivatives=first,
        gated=not first,
        pretrained_on_tcga=False,
        pretraining=f"self-supervised on {'500 k proprietary slides' if first else data}",
        sources=(page, release, TRIDENT, TIMM, lazyslide("h_optimus.py")),
        # the card wants tiles of 224 px and resizes none; libraries differ
        unknown=("preprocess",),
    )


_H0_MINI = Entry(
    name="h0-mini",
    title="H0-mini",
    # 85.7 M parameters are those of a hidden width of 2048, 2/3 of 4 x 768
    vit=vit_config("B/14", mlp="swiglu", mlp_dim=2048, **_REGISTERS, **_BIOPTIMUS),
    source="hf:bioptimus/H0-mini/pytorch_model.bin",
    reference=timm_reference(
        "vit_base_patch14_reg4_dinov2", mlp_ratio=5.33334, **_SWIGLU
    ),
    preprocess=(224, 224, "bicubic"),
    licence="CC-BY-NC-ND-4.0",
    licence_url=_CC_BY_NC_ND,
    share_derivatives=False,
    gated=True,
    pretrained_on_tcga=True,
    pretraining="distilled from H-optimus-0 on 40 M tiles of TCGA",
    sources=(
        "https://arxiv.org/abs/2501.16239",
        eva("bioptimus.py"),
        lazyslide("h_optimus.py"),
        TRIDENT,
    ),
    # eva and TRIDENT take CLS; LazySlide and slide2vec add the mean of the patches
    unknown=("source", "preprocess", "vit.no_embed_class", "vit.pool"),
)


def _virchow(version: int) -> Entry:
    first = version == 1
    title = "Virchow" if first else "Virchow2"
    repository = f"paige-ai/{title}"
    registers = 0 if first else 4
    return Entry(
        name=title.lower(),
        title=title,
        vit=ViTConfig(
            patch=14,
            width=1280,
            depth=32,
            heads=16,
            mlp="swiglu",
            mlp_dim=3416,
            layerscale=1e-5,
            registers=registers,  # they have positions: no_embed_class is False
            pool="cls_mean",
            **IMAGENET,
        ),
        source=f"hf:{repository}/pytorch_model.bin",
        reference=timm_reference(
            "vit_huge_patch14_224",
            init_values=1e-5,
            mlp_ratio=5.3375,
            reg_tokens=registers,
            **_SWIGLU,
        ),
        preprocess=(224, 224, "bicubic"),
        licence="Apache-2.0" if first else "CC-BY-NC-ND-4.0",
        licence_url=hub(repository),
        share_derivatives=first,
        gated=True,
        pretrained_on_tcga=False if first else None,
        pretraining="DINOv2 on 1.5 M slides"
        if first
        else "DINOv2 on 3.1 M slides at several magnifications",
        sources=(
            hub(repository),
            f"https://arxiv.org/abs/{'2309.07778' if first else '2408.00738'}",
            "https://bio.rodeo/models/virchow",
            TRIDENT,
            lazyslide("virchow.py"),
        ),
    )


_UNI = Entry(
    name="uni",
    title="UNI",
    vit=vit_config("L/16", layerscale=1e-5, **IMAGENET),
    source="hf:MahmoodLab/UNI/pytorch_model.bin",
    reference=timm_reference("vit_large_patch16_224", init_values=1e-5),
    preprocess=(224, 224, "bilinear"),
    **_UNI_TERMS,
    pretrained_on_tcga=False,
    pretraining="DINOv2 on Mass-100K",
    sources=(
        hub("MahmoodLab/UNI"),
        _UNI_CODE,
        github("mahmoodlab/UNI", "42715ef", "README_old.md"),
        TRIDENT,
        lazyslide("uni.py"),
    ),
)

_UNI2_H = Entry(
    name="uni2-h",
    title="UNI2-h",
    vit=vit_config("g/14", depth=24, **{**_REGISTERS, "registers": 8}, **IMAGENET),
    source="hf:MahmoodLab/UNI2-h/pytorch_model.bin",
    reference=timm_reference(
        "vit_giant_patch14_224",
        embed_dim=1536,
        depth=24,
        num_heads=24,
        init_values=1e-5,
        mlp_ratio=5.33334,
        no_embed_class=True,
        reg_tokens=8,
        **_SWIGLU,
    ),
    preprocess=(224, 224, "bilinear"),
    **_UNI_TERMS,
    pretrained_on_tcga=None,  # its makers rule TCGA out for UNI; for UNI2 we saw nothing
    pretraining="DINOv2 on 200 M tiles of 350 k H&E and IHC slides",
    sources=(hub("MahmoodLab/UNI2-h"), _UNI_CODE, TRIDENT, lazyslide("uni.py")),
)

_PROV_GIGAPATH = Entry(
    name="prov-gigapath",
    title="Prov-GigaPath, tile encoder",
    vit=vit_config("g/14", patch=16, layerscale=1e-5, **IMAGENET),
    source="hf:prov-gigapath/prov-gigapath/pytorch_model.bin",
    reference=timm_reference(
        "vit_giant_patch14_dinov2", patch_size=16, mlp_ratio=5.33334
    ),
    preprocess=(256, 224, "bicubic"),
    licence="Apache-2.0",
    licence_url=github("prov-gigapath/prov-gigapath", "main", "LICENSE"),
    # the licence would let it, the conditions for access say more
    share_derivatives=None,
    gated=True,
    pretrained_on_tcga=False,
    pretraining="DINOv2 on Prov-Path",
    sources=(
        hub("prov-gigapath/prov-gigapath"),
        github("prov-gigapath/prov-gigapath", "09d8e87", "gigapath/pipeline.py"),
        TRIDENT,
        TIMM,
        lazyslide("gigapath.py"),
    ),
    unknown=("share_derivatives",),
)

_GPFM = Entry(
    name="gpfm",
    title="GPFM",
    vit=vit_config("L/14", layerscale=1e-5, **IMAGENET),
    source="hf:majiabo/GPFM/GPFM.pth",
    reference=timm_reference("vit_large_patch14_dinov2", init_values=1e-5),
    preprocess=(224, 224, "bicubic"),
    # the repository's; the hub has also said CC-BY-NC-4.0
    licence="CC-BY-NC-ND-4.0",
    licence_url=github("birkhoffkiki/GPFM", "master", "LICENSE"),
    share_derivatives=None,
    pretrained_on_tcga=True,
    pretraining="distilled from UNI, CONCH and Phikon on 190 M tiles of public slides",
    sources=(
        github("birkhoffkiki/GPFM", "4f8be2b", "models/dinov2/__init__.py"),
        "https://arxiv.org/abs/2407.18449",
        "https://ramonkaspar.github.io/wsistream/recipes/gpfm/",
        hub("majiabo/GPFM"),
        TRIDENT,
        lazyslide("gpfm.py"),
    ),
    unknown=("licence", "share_derivatives"),
)

ENTRIES = (
    *(_kaiko(size, patch) for size in "sb" for patch in (16, 8)),
    _kaiko("l", 14),
    *(_lunit(patch) for patch in (16, 8)),
    *(_UNI, _UNI2_H, _virchow(1), _virchow(2), _PROV_GIGAPATH),
    *(_h_optimus(0), _h_optimus(1), _H0_MINI, _GPFM),
)
