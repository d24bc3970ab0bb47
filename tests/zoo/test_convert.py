"""Both ways and exact; what does not fit is named, all of it."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_zoo import random_state, shrink

from pathjax.models.variants import ViTConfig
from pathjax.zoo import get, names
from pathjax.zoo.convert import ConvertError, compress, from_state, to_state
from pathjax.zoo.layouts import dialects, is_folded


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name])
        for name in one
    )


@pytest.mark.parametrize("name", names())
def test_files_and_back(name):
    entry = get(name)
    vit = shrink(entry.vit)
    for dialect in dialects(entry.layout):
        state = random_state(vit, entry.layout, dialect.name)
        found = from_state(state, vit, entry.layout)
        assert found.config == vit and found.dropped == ()
        back = to_state(found.params, vit, entry.layout, found.dialect)
        if not is_folded(dialect, vit):
            assert same(back, state)
        # Once CLS holds its position, nothing is added again.
        again = from_state(back, vit, entry.layout)
        assert same(flatten_dict(again.params), flatten_dict(found.params))


@st.composite
def configs(draw):
    registers = draw(st.integers(0, 3))
    heads = draw(st.integers(1, 3))
    return ViTConfig(
        patch=draw(st.integers(1, 3)),
        image_px=6,
        width=heads * draw(st.integers(1, 4)),
        depth=draw(st.integers(1, 11)),
        heads=heads,
        mlp_dim=draw(st.integers(1, 5)),
        registers=registers,
        no_embed_class=draw(st.booleans()),
        layerscale=draw(st.sampled_from([None, 1e-5])),
        mlp=draw(st.sampled_from(["gelu", "swiglu"])),
    )


@settings(max_examples=40, deadline=None)
@given(configs(), st.sampled_from(["timm", "hub"]), st.integers(0, 99))
def test_any_shape_and_back(vit, dialect, seed):
    state = random_state(vit, "timm", dialect, seed)
    found = from_state(state, vit, "timm")
    timm = to_state(found.params, found.config, "timm")
    assert same(
        flatten_dict(from_state(timm, vit, "timm").params), flatten_dict(found.params)
    )
    if dialect == "timm":
        assert same(timm, state)


def test_what_becomes_of_each_kind():
    vit = shrink(get("hibou-b").vit)
    state = random_state(vit, "hf_dinov2", "hf_dinov2_5")
    params = from_state(state, vit, "hf_dinov2").params
    conv = state["embeddings.patch_embeddings.projection.weight"]
    kernel = params["patch_embed"]["kernel"].reshape(4, 4, 3, 12)
    assert kernel[1, 2, 0, 5] == conv[5, 0, 1, 2]
    attention = "encoder.layer.1.attention"
    qkv = params["blocks_1"]["attn"]["qkv"]
    np.testing.assert_array_equal(
        qkv["kernel"][:, 12:24], state[f"{attention}.k_proj.weight"].T
    )
    np.testing.assert_array_equal(qkv["bias"][24:], state[f"{attention}.v_proj.bias"])
    fc1 = params["blocks_0"]["mlp"]["fc1"]["kernel"]  # gate, then value
    gate = state["encoder.layer.0.mlp.gate_proj.weight"]
    np.testing.assert_array_equal(fc1[:, :10], gate.T)
    positions = state["embeddings.position_embeddings"]
    np.testing.assert_array_equal(params["pos_embed"], positions[:, 1:])
    np.testing.assert_array_equal(
        params["cls_token"], state["embeddings.cls_token"] + positions[:, :1]
    )


def test_the_grid_is_the_files():
    vit = shrink(get("kaiko-vitl14").vit)
    state = random_state(vit.replace(image_px=20), "timm")
    found = from_state(state, vit, "timm")
    assert found.config.image_px == 20 and found.config.grid == 5
    assert found.params["pos_embed"].shape == (1, 25, 12)


def test_checkpoint_of_a_training_run():
    vit = shrink(get("gpfm").vit)
    state = random_state(vit, "timm")
    wrapped = {
        "backbone." + name.replace("blocks.", "blocks.0."): array
        for name, array in state.items()
    }
    wrapped["backbone.mask_token"] = wrapped["dino_head.last.weight"] = np.zeros(3)
    found = from_state(wrapped, vit, "timm")
    assert same(to_state(found.params, vit, "timm"), state)
    assert found.dropped == ("dino_head.last.weight", "backbone.mask_token")


def test_all_that_is_wrong_at_once():
    vit = shrink(get("uni").vit)
    state = random_state(vit, "timm")
    for name in ("blocks.0.ls1.gamma", "blocks.1.ls1.gamma", "norm.bias"):
        del state[name]
    state["fc_norm.weight"] = state["norm.weight"]
    state["blocks.0.mlp.fc1.weight"] = np.zeros((40, 12), np.float32)
    state["pos_embed"] = np.zeros((1, 12, 12), np.float32)  # 11 patches: no square
    with pytest.raises(ConvertError) as error:
        from_state(state, vit, "timm")
    text = str(error.value)
    for part in (
        "3 missing: ",
        "blocks.{0-1}.ls1.gamma",
        "norm.bias",
        "1 unexpected: fc_norm.weight",
        "2 of another shape: ",
        "blocks.0.mlp.fc1.weight [40, 12], expected [10, 12]",
        "pos_embed [1, 12, 12], expected [1, 10, 12]",
        "pathjax models",
    ):
        assert part in text


def test_another_layout_is_counted_in_a_short_message():
    vit = shrink(get("phikon-v2").vit)
    with pytest.raises(ConvertError, match="42 missing.*34 unexpected") as error:
        from_state(random_state(vit, "timm"), vit, "hf_dinov2")
    assert "more)" in str(error.value) and len(str(error.value)) < 600


def test_what_a_layout_cannot_say():
    vit = shrink(get("virchow").vit)
    params = from_state(random_state(vit, "timm"), vit, "timm").params
    with pytest.raises(ConvertError, match="without a name in hf_vit: blocks_{0-1}/"):
        to_state(params, vit, "hf_vit")
    del params["norm"]
    with pytest.raises(ConvertError, match="2 missing: norm/scale, norm/bias"):
        to_state(params, vit, "timm")
    with pytest.raises(ValueError, match="dialect='x': expected one of timm, hub"):
        to_state(params, vit, "timm", "x")


def test_names_in_runs():
    names = [f"blocks.{i}.ls1.gamma" for i in (0, 1, 2, 5, 11)]
    assert compress([*names, "norm1.bias"]) == "blocks.{0-2,5,11}.ls1.gamma, norm1.bias"
    assert compress(["blocks_3/norm1/bias"]) == "blocks_3/norm1/bias"
    assert compress("abcde") == "a, b, c, ... (2 more)"


@pytest.mark.peer
@pytest.mark.parametrize("name", ["dinov2-vitg14-reg4", "dinov2-vitg14"])
def test_names_of_the_hub_become_what_timm_makes_of_them(name):
    import timm
    import torch
    from timm.models.vision_transformer import checkpoint_filter_fn

    vit = shrink(get(name).vit)
    state = random_state(vit, "timm", "hub") | {"mask_token": np.zeros((1, 12))}
    made = timm.create_model(
        get(name).reference[0],
        img_size=12,
        patch_size=4,
        embed_dim=12,
        depth=2,
        num_heads=3,
        mlp_ratio=20 / 12,
    )
    tensors = {key: torch.from_numpy(array) for key, array in state.items()}
    wanted = {k: v.numpy() for k, v in checkpoint_filter_fn(tensors, made).items()}
    found = from_state(state, vit, "timm")
    assert found.dialect == "hub" and found.dropped == ("mask_token",)
    assert same(to_state(found.params, vit, "timm"), wanted)
