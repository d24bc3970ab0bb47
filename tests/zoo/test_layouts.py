"""Tables of names: complete, in agreement with the model, and free of wrappers."""

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict
from tiny_zoo import shrink

from pathjax.models.vit import ViT
from pathjax.zoo import get, names
from pathjax.zoo.layouts import (
    DIALECTS,
    expand,
    param_shapes,
    their_shapes,
)


def dialects(layout):
    return [one for one in DIALECTS.values() if one.layout == layout]


@pytest.mark.parametrize("name", names())
def test_shapes_are_those_of_the_model(name):
    vit = get(name).vit.replace(depth=2)  # a block is like the next, and each is traced
    image = jax.ShapeDtypeStruct((1, vit.image_px, vit.image_px, 3), jnp.float32)
    made = jax.eval_shape(ViT(vit).init, jax.random.key(0), image)["params"]
    expected = {"/".join(path): leaf.shape for path, leaf in flatten_dict(made).items()}
    assert param_shapes(vit) == expected


@pytest.mark.parametrize("name", names())
def test_every_dialect_of_the_layout_names_every_parameter(name):
    entry = get(name)
    for dialect in dialects(entry.layout):
        assert expand(dialect, entry.vit).keys() == param_shapes(entry.vit).keys()


def test_names_of_their_libraries():
    """A few names of each dialect, written down by hand."""
    vit = shrink(get("dinov2-vitg14-reg4").vit)
    timm, hub = (their_shapes(one, vit) for one in dialects("timm"))
    assert timm["blocks.1.mlp.fc1.weight"] == (20, 12)
    assert timm["pos_embed"] == (1, 9, 12) and timm["reg_token"] == (1, 4, 12)
    assert hub["blocks.1.mlp.w12.weight"] == (20, 12)
    assert hub["pos_embed"] == (1, 10, 12) and hub["register_tokens"] == (1, 4, 12)
    assert timm["patch_embed.proj.weight"] == (12, 3, 4, 4)
    files, memory = (their_shapes(one, vit) for one in dialects("hf_dinov2"))
    assert files["encoder.layer.0.attention.attention.query.weight"] == (12, 12)
    assert files["encoder.layer.0.mlp.weights_in.bias"] == (20,)
    assert memory["encoder.layer.0.mlp.gate_proj.bias"] == (10,)
    vit = shrink(get("phikon").vit)
    files, memory = (their_shapes(one, vit) for one in dialects("hf_vit"))
    assert files["encoder.layer.1.intermediate.dense.weight"] == (10, 12)
    assert memory["layers.1.mlp.fc2.weight"] == (12, 10)
