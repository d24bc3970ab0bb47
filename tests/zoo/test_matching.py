"""Which encoder a file holds: dialects, wrappers, several at once, and what is beside."""

import pytest
from tiny_zoo import shrink, speaking

from pathjax.zoo import get, names
from pathjax.zoo.entry import ZooError
from pathjax.zoo.layouts import DIALECTS, their_shapes
from pathjax.zoo.matching import compress, describe, match, prefixes, role

PREFIXES = (
    "",
    "module.",
    "_orig_mod.",
    "model.",
    "vit.",
    "dinov2.",
    "dinov2_with_registers.",
    "teacher.backbone.",
    "state_dict.module.",
    "state_dict.model.encoder._orig_mod.",
)


def shapes_of(vit, dialect="timm", prefix=""):
    named = their_shapes(DIALECTS[dialect], vit)
    return {prefix + name: shape for name, shape in named.items()}


# Of each kind of encoder in the registry one, small: where the files' names differ.
KINDS = {
    shrink(get(name).vit, mean=(0.0,) * 3, std=(1.0,) * 3): name for name in names()
}


@pytest.mark.parametrize("name", names())
def test_every_entry_in_every_dialect_it_can_be_written_in(name):
    vit = get(name).vit.replace(depth=3)
    for dialect in speaking(vit):
        shapes = shapes_of(vit, dialect)
        found = match(shapes, vit)
        assert not found.problems and found.config == vit and not found.outside
        # Without registers and SwiGLU a hub's names are timm's.
        assert shapes_of(vit, found.dialect.name) == shapes
        assert set(found.names) == set(shapes)


@pytest.mark.parametrize("vit", KINDS, ids=KINDS.values())
def test_every_kind_of_encoder_under_every_wrapper(vit):
    for dialect in speaking(vit):
        for prefix in PREFIXES:
            found = match(shapes_of(vit, dialect, prefix), vit)
            assert (found.prefix, found.problems) == (prefix, ())


@pytest.mark.parametrize(
    ("prefix", "extra"),
    [
        ("", ["head.weight", "mask_token", "decoder_pos_embed", "criterion.alpha"]),
        ("dinov2.", ["classifier.weight"]),  # a model for classification
        ("model.", ["criterion.weight", "model.head.bias"]),  # Lightning
        ("module.backbone.", ["module.dino_head.mlp.0.weight"]),
        ("encoder.", ["n_averaged", "projection.weight"]),
    ],
)
def test_what_is_beside_the_encoder_is_left_out_and_named(prefix, extra):
    vit = shrink(get("dinov2-vits14").vit)
    shapes = shapes_of(vit, "timm", prefix) | dict.fromkeys(extra, (3,))
    found = match(shapes, vit)
    assert not found.problems and set(found.outside) == set(extra)


def test_a_norm_of_another_architecture_is_refused():
    vit = shrink(get("uni").vit)
    shapes = shapes_of(vit, prefix="model.") | {"model.fc_norm.weight": (12,)}
    assert match(shapes, vit).problems == ("1 unexpected: fc_norm.weight",)


@pytest.mark.parametrize(
    ("places", "chosen"),
    [
        (["state_dict.", "state_dict_ema."], "state_dict_ema."),
        (["model.", "model_ema."], "model_ema."),
        (["model_ema.", "state_dict_ema."], "state_dict_ema."),
        (["student.backbone.", "teacher.backbone."], "teacher.backbone."),
        (["student.", "encoder."], "encoder."),
        (["teacher.", "ema_model."], "ema_model."),
        (["schema.", "teacher."], "teacher."),
    ],
)
def test_which_of_several_encoders(places, chosen):
    vit = shrink(get("dinov2-vits14").vit)
    shapes = {}
    for place in places:
        shapes |= shapes_of(vit, "hub", place)
    found = match(shapes, vit)
    assert found.prefix == chosen
    assert set(found.others) == set(places) - {chosen}
    assert set(found.outside) == {n for n in shapes if not n.startswith(chosen)}


def test_the_encoder_of_another_size_does_not_count():
    vit = shrink(get("dinov2-vits14").vit)
    teacher = shapes_of(vit.replace(width=24), prefix="teacher.")
    found = match(shapes_of(vit, prefix="student.") | teacher, vit)
    assert found.prefix == "student." and not found.others


def test_wrappers_inside_and_chunks():
    vit = shrink(get("uni").vit)
    shapes = {
        name.replace("blocks.", "blocks.0._fsdp_wrapped_module."): shape
        for name, shape in shapes_of(vit, prefix="module.").items()
    }
    found = match(shapes, vit)
    assert not found.problems
    inner = "module.blocks.0._fsdp_wrapped_module.1.norm1.bias"
    assert found.names["blocks.1.norm1.bias"] == inner


def test_the_grid_is_that_of_the_file():
    vit = shrink(get("kaiko-vitl14").vit)
    found = match(shapes_of(vit.replace(image_px=20), "hub"), vit)
    assert found.config.grid == 5 and not found.problems


def test_another_model_in_a_short_message():
    vit = shrink(get("phikon").vit)
    found = match(shapes_of(vit.replace(depth=12), "hf_vit"), vit.replace(depth=10))
    assert len(found.problems) == 1
    assert found.problems[0].startswith("32 unexpected: encoder.layer.{10-11}.")
    assert found.problems[0].endswith("more)")


def test_no_vision_transformer():
    with pytest.raises(ZooError, match="got 2 other tensors: conv.weight, fc.bias"):
        match({"conv.weight": (3, 3), "fc.bias": (3,)}, get("uni").vit)
    with pytest.raises(ZooError, match="got 0 other tensors: none"):
        match({}, get("uni").vit)


@pytest.mark.parametrize("dialect", ["timm", "hf_vit", "hf_vit_5", "hf_dinov2"])
def test_a_file_in_words(dialect):
    text = describe(shapes_of(get("dino-vits8").vit, dialect, "model."))
    assert text.startswith("a ViT of width 384, patch 8 and 12 blocks in the names of")
    assert ("transformers" in text) == dialect.startswith("hf")
    assert describe({"conv.weight": (3, 3, 3, 3)}) == ""


def test_prefixes_and_roles():
    names = ["a.embeddings.cls_token", "a.cls_tokens", "b.cls_token", "pos_embed"]
    assert prefixes(names) == ["a.", "b.", ""]
    assert [role(p) for p in ("net_ema.", "Teacher.", "x.", "student.")] == [0, 1, 2, 3]


def test_names_in_runs():
    names = [f"blocks.{i}.ls1.gamma" for i in (0, 1, 2, 5, 11)]
    assert compress([*names, "norm1.bias"]) == "blocks.{0-2,5,11}.ls1.gamma, norm1.bias"
    assert compress(["blocks_3/norm1/bias"]) == "blocks_3/norm1/bias"
    assert compress("abcde") == "a, b, ... (3 more)"
