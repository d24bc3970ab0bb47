import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest

from pathjax.models.variants import ViTConfig
from pathjax.models.vit import ViT
from pathjax.zoo import MODELS, Entry, count_parameters, get, names

EXPECTED = (
    "dino-vits16",
    "dino-vits8",
    "dino-vitb16",
    "dino-vitb8",
    "dinov2-vits14",
    "dinov2-vitb14",
    "dinov2-vitl14",
    "dinov2-vitg14",
    "dinov2-vits14-reg4",
    "dinov2-vitb14-reg4",
    "dinov2-vitl14-reg4",
    "dinov2-vitg14-reg4",
    "kaiko-vits16",
    "kaiko-vits8",
    "kaiko-vitb16",
    "kaiko-vitb8",
    "kaiko-vitl14",
    "lunit-vits16",
    "lunit-vits8",
    "phikon",
    "phikon-v2",
    "uni",
    "uni2-h",
    "virchow",
    "virchow2",
    "prov-gigapath",
    "h-optimus-0",
    "h-optimus-1",
    "h0-mini",
    "hibou-b",
    "hibou-l",
    "gpfm",
    "midnight-12k",
)

# What others write of the weights, in millions, with as many digits as they give; one
# written in thousands of millions is good to 5 M. Midnight's 1.14 G and GigaPath's 1.13 G
# tell a 37 x 37 grid of positions from a smaller one.
PUBLISHED = {
    "dino-vits16": (21.7, 0.05),
    "lunit-vits8": (21.7, 0.05),
    "phikon": (85.8, 0.05),
    "phikon-v2": (303.4, 0.05),
    "uni": (303.4, 0.05),
    "uni2-h": (681.4, 0.05),
    "virchow": (631.2, 0.05),
    "virchow2": (631.2, 0.05),
    "prov-gigapath": (1130, 5),
    "h-optimus-0": (1130, 5),
    "h-optimus-1": (1130, 5),
    "h0-mini": (85.7, 0.05),
    "hibou-b": (85.7, 0.05),
    "hibou-l": (303.7, 0.05),
    "gpfm": (303, 0.5),
    "midnight-12k": (1140, 5),
}

# timm's own defaults of the architectures that references are built on
TIMM_SMALL = {"embed_dim": 384, "depth": 12, "num_heads": 6}
TIMM_BASE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
TIMM_LARGE = {"embed_dim": 1024, "depth": 24, "num_heads": 16}
TIMM_DINOV2 = {"patch_size": 14, "init_values": 1e-5}
TIMM_REG4 = {**TIMM_DINOV2, "reg_tokens": 4, "no_embed_class": True}
TIMM_GIANT = {
    "embed_dim": 1536,
    "depth": 40,
    "num_heads": 24,
    "mlp_ratio": 5.33334,
    "mlp_layer": "SwiGLUPacked",
    "act_layer": "SiLU",
}
TIMM = {
    "vit_small_patch16_224": {**TIMM_SMALL, "patch_size": 16},
    "vit_small_patch8_224": {**TIMM_SMALL, "patch_size": 8},
    "vit_base_patch16_224": {**TIMM_BASE, "patch_size": 16},
    "vit_base_patch8_224": {**TIMM_BASE, "patch_size": 8},
    "vit_large_patch16_224": {**TIMM_LARGE, "patch_size": 16},
    "vit_huge_patch14_224": {
        "patch_size": 14,
        "embed_dim": 1280,
        "depth": 32,
        "num_heads": 16,
    },
    "vit_giant_patch14_224": {
        "patch_size": 14,
        "embed_dim": 1408,
        "depth": 40,
        "num_heads": 16,
        "mlp_ratio": 48 / 11,
    },
    "vit_small_patch14_dinov2": {**TIMM_SMALL, **TIMM_DINOV2},
    "vit_base_patch14_dinov2": {**TIMM_BASE, **TIMM_DINOV2},
    "vit_large_patch14_dinov2": {**TIMM_LARGE, **TIMM_DINOV2},
    "vit_giant_patch14_dinov2": {**TIMM_GIANT, **TIMM_DINOV2},
    "vit_small_patch14_reg4_dinov2": {**TIMM_SMALL, **TIMM_REG4},
    "vit_base_patch14_reg4_dinov2": {**TIMM_BASE, **TIMM_REG4},
    "vit_large_patch14_reg4_dinov2": {**TIMM_LARGE, **TIMM_REG4},
    "vit_giant_patch14_reg4_dinov2": {**TIMM_GIANT, **TIMM_REG4},
}


def timm_shape(entry: Entry) -> dict:
    """The shape that timm gives a reference, in the words of ViTConfig."""
    architecture, keywords = entry.reference
    args = {**TIMM[architecture], **keywords}
    packed = args.get("mlp_layer") == "SwiGLUPacked"
    assert packed == (args.get("act_layer") == "SiLU")
    hidden = int(args["embed_dim"] * args.get("mlp_ratio", 4))  # of fc1, as timm rounds
    return {
        "patch": args["patch_size"],
        "width": args["embed_dim"],
        "depth": args["depth"],
        "heads": args["num_heads"],
        "mlp": "swiglu" if packed else "gelu",
        "mlp_dim": hidden // 2 if packed else hidden,
        "image_px": args["img_size"],
        "registers": args.get("reg_tokens", 0),
        "no_embed_class": args.get("no_embed_class", False),
        "layerscale": args.get("init_values"),
        "norm_eps": 1e-6,
        "positions": "timm",
    }


def transformers_shape(entry: Entry) -> dict:
    """The shape that transformers gives a reference, in the words of ViTConfig."""
    model, args = entry.reference
    swiglu = args.get("use_swiglu_ffn", False)
    if model == "ViTModel":
        hidden = args["intermediate_size"]
    else:
        hidden = int(args["hidden_size"] * args["mlp_ratio"])
        if swiglu:
            hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
    registers = args.get("num_register_tokens", 0)
    assert (model == "Dinov2WithRegistersModel") == (registers > 0)
    return {
        "patch": args["patch_size"],
        "width": args["hidden_size"],
        "depth": args["num_hidden_layers"],
        "heads": args["num_attention_heads"],
        "mlp": "swiglu" if swiglu else "gelu",
        "mlp_dim": hidden,
        "image_px": args["image_size"],
        "registers": registers,
        # with registers, the importer adds the position of CLS to CLS
        "no_embed_class": registers > 0,
        "layerscale": args.get("layerscale_value"),
        "norm_eps": args["layer_norm_eps"],
        "positions": "timm" if registers else "torch",
    }


def test_every_expected_model_is_there_and_no_other():
    assert sorted(names()) == sorted(EXPECTED)
    assert all(get(name).name == name == name.lower() for name in names())


@pytest.mark.parametrize("name", EXPECTED)
def test_the_reference_agrees_with_the_vit(name):
    entry = get(name)
    shape = timm_shape if entry.layout == "timm" else transformers_shape
    for field, expected in shape(entry).items():
        assert getattr(entry.vit, field) == expected, field


@pytest.mark.parametrize("name", EXPECTED)
def test_an_entry_is_consistent(name):
    entry = get(name)
    assert entry.layout in ("timm", "hf_vit", "hf_dinov2")
    assert (entry.reference[0] == "ViTModel") == (entry.layout == "hf_vit")
    resize, crop, interpolation = entry.preprocess
    assert resize >= crop and crop % entry.vit.patch == 0
    assert interpolation in ("bilinear", "bicubic")
    kind, _, place = entry.source.partition(":")
    assert kind in ("hf", "timm", "url")
    assert kind != "hf" or place.count("/") == 2
    assert kind == "hf" or not entry.gated
    assert entry.sources and len(set(entry.sources)) == len(entry.sources)
    links = [*entry.sources, entry.licence_url]
    assert all(link.startswith("https://") for link in links)
    assert not ("-ND-" in entry.licence and entry.share_derivatives)
    fields = {field.name for field in dataclasses.fields(Entry)}
    fields |= {f"vit.{field.name}" for field in dataclasses.fields(ViTConfig)}
    assert set(entry.unknown) <= fields


@pytest.mark.parametrize("name", EXPECTED)
def test_parameters_are_those_of_the_real_vit(name):
    vit = get(name).vit.replace(scan=True)  # one block is traced, not forty
    image = jax.ShapeDtypeStruct((1, 2 * vit.patch, 2 * vit.patch, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(ViT(vit).init, key, image)
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(variables)]
    assert get(name).parameters == sum(sizes)


@pytest.mark.peer
@pytest.mark.parametrize("name", EXPECTED)
def test_the_reference_builds_a_model_of_this_size(name):
    torch = pytest.importorskip("torch")
    entry = get(name)
    architecture, keywords = entry.reference
    if entry.layout == "timm":
        timm = pytest.importorskip("timm")
        marks = {"SwiGLUPacked": timm.layers.SwiGLUPacked, "SiLU": torch.nn.SiLU}
        keywords = {
            key: marks[value] if isinstance(value, str) else value
            for key, value in keywords.items()
        }
        with torch.device("meta"):
            model = timm.create_model(architecture, **keywords)
        norm, moved = model.norm, 0
    else:
        transformers = pytest.importorskip("transformers")
        kind = getattr(transformers, architecture)
        options = {"add_pooling_layer": False} if architecture == "ViTModel" else {}
        with torch.device("meta"):
            model = kind(kind.config_class(**keywords), **options)
        # the position of CLS, which the importer adds to CLS
        norm, moved = model.layernorm, entry.vit.width * entry.vit.no_embed_class
    sizes = [p.numel() for n, p in model.named_parameters() if "mask_token" not in n]
    assert sum(sizes) - moved == entry.parameters
    assert norm.eps == entry.vit.norm_eps


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    millions, within = PUBLISHED[name]
    assert abs(get(name).parameters / 1e6 - millions) <= within


def test_counting_knows_registers_without_positions():
    vit = get("h0-mini").vit
    with_positions = vit.replace(no_embed_class=False)
    difference = count_parameters(with_positions) - count_parameters(vit)
    assert difference == 5 * vit.width


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("uni2", "uni2-h"), ("virchow-2", "virchow2"), ("!!!", "expected one of")],
)
def test_an_unknown_name_gives_the_nearest(wrong, near):
    with pytest.raises(ValueError, match=f"unknown public model '{wrong}'; .*{near}"):
        get(wrong)


def test_architectures_read_as_people_write_them():
    assert get("dino-vitb8").architecture == "ViT-B/8"
    assert get("prov-gigapath").architecture == "ViT-g/16, SwiGLU"
    assert get("uni2-h").architecture == "ViT-H/14, SwiGLU, 8 registers"
    assert all(entry.architecture for entry in MODELS.values())
