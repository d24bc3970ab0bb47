"""Both ways and exact; what does not fit is named, all of it."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_zoo import random_state, shrink, speaking

from pathjax.models.variants import ViTConfig
from pathjax.zoo import get, names
from pathjax.zoo.convert import from_state, to_state
from pathjax.zoo.entry import ZooError
from pathjax.zoo.layouts import DIALECTS, is_folded


def same(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name])
        for name in one
    )


@pytest.mark.parametrize("name", names())
def test_every_entry_reads_every_dialect_and_writes_it_back(name):
    vit = shrink(get(name).vit)
    assert {"timm", "hf_dinov2"} <= set(speaking(vit))
    for dialect in speaking(vit):
        table = DIALECTS[dialect]
        state = random_state(vit, table.layout, dialect)
        read = from_state(state, vit)
        assert read.config == vit and read.dropped == ()
        back = to_state(read.params, vit, dialect)
        if not is_folded(table, vit):
            assert same(back, state)
        # Once CLS holds its position, nothing is added again.
        again = from_state(back, vit)
        assert same(flatten_dict(again.params), flatten_dict(read.params))


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
    read = from_state(state, vit)
    timm = to_state(read.params, read.config, "timm")
    assert same(flatten_dict(from_state(timm, vit).params), flatten_dict(read.params))
    if dialect == "timm":
        assert same(timm, state)


def test_what_becomes_of_each_kind():
    vit = shrink(get("hibou-b").vit)
    state = random_state(vit, "hf_dinov2", "hf_dinov2_5")
    params = from_state(state, vit).params
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
    read = from_state(state, vit)
    assert read.config.image_px == 20 and read.config.grid == 5
    assert read.params["pos_embed"].shape == (1, 25, 12)


def test_checkpoint_of_a_training_run():
    vit = shrink(get("gpfm").vit)
    state = random_state(vit, "timm")
    wrapped = {
        "backbone." + name.replace("blocks.", "blocks.0."): array
        for name, array in state.items()
    }
    wrapped["backbone.mask_token"] = wrapped["dino_head.last.weight"] = np.zeros(3)
    read = from_state(wrapped, vit)
    assert same(to_state(read.params, vit, "timm"), state)
    assert set(read.dropped) == {"dino_head.last.weight", "backbone.mask_token"}


def test_all_that_is_wrong_at_once():
    vit = shrink(get("uni").vit)
    state = random_state(vit, "timm")
    for name in ("blocks.0.ls1.gamma", "blocks.1.ls1.gamma", "norm.bias"):
        del state[name]
    state["fc_norm.weight"] = state["norm.weight"]
    state["blocks.0.mlp.fc1.weight"] = np.zeros((40, 12), np.float32)
    state["pos_embed"] = np.zeros((1, 12, 12), np.float32)  # 11 patches: no square
    with pytest.raises(ZooError) as error:
        from_state(state, vit)
    text = str(error.value)
    for part in (
        "3 missing: ",
        "blocks.{0-1}.ls1.gamma",
        "norm.bias",
        "1 unexpected: fc_norm.weight",
        "2 of another shape: ",
        "blocks.0.mlp.fc1.weight [40, 12], expected [10, 12]",
        "pos_embed [1, 12, 12], expected [1, 10, 12]",
    ):
        assert part in text


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float8_e4m3fn", "complex64"])
def test_quantised_weights_are_refused(dtype):
    vit = shrink(get("uni").vit)
    state = random_state(vit, "timm")
    name = "blocks.1.attn.qkv.weight"
    state[name] = np.zeros(state[name].shape, np.dtype(dtype))
    with pytest.raises(ZooError, match=f"got {dtype} in 1 tensors: {name}; use the"):
        from_state(state, vit)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_become_float32(dtype):
    vit = shrink(get("uni").vit)
    state = {n: x.astype(dtype) for n, x in random_state(vit, "timm").items()}
    params = flatten_dict(from_state(state, vit).params, sep="/")
    assert {x.dtype.name for x in params.values()} == {"float32"}
    np.testing.assert_array_equal(
        params["norm/scale"], state["norm.weight"].astype(np.float32)
    )


def test_two_encoders_of_the_same_standing():
    vit = shrink(get("uni").vit)
    one, two = (random_state(vit, "timm", seed=seed) for seed in (0, 1))
    both = {f"a.{n}": x for n, x in one.items()} | {f"b.{n}": x for n, x in two.items()}
    with pytest.raises(ZooError, match="at 'a.' and 'b.': choose one by --prefix"):
        from_state(both, vit)
    read = from_state(both, vit, "b.")
    assert same(to_state(read.params, vit, "timm"), two) and read.prefix == "b."
    with pytest.raises(ZooError, match="prefix='c.': expected one of 'a.', 'b.'"):
        from_state(both, vit, "c.")
    alike = {n: one[n[2:]] for n in both}
    assert same(to_state(from_state(alike, vit).params, vit, "timm"), one)


def test_what_a_layout_cannot_say():
    vit = shrink(get("virchow").vit)
    params = from_state(random_state(vit, "timm"), vit).params
    with pytest.raises(ZooError, match="without a name in hf_vit: blocks_{0-1}/"):
        to_state(params, vit, "hf_vit")
    del params["norm"]
    with pytest.raises(ZooError, match="2 missing: norm/scale, norm/bias"):
        to_state(params, vit, "timm")


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
    expected = {k: v.numpy() for k, v in checkpoint_filter_fn(tensors, made).items()}
    read = from_state(state, vit)
    assert read.dialect == "hub" and read.dropped == ("mask_token",)
    assert same(to_state(read.params, vit, "timm"), expected)
