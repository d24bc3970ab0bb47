"""The registry: every objective by name, options checked by name; the encoder alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax import objectives
from pathjax.models.vit import ViT, normalise


@pytest.mark.parametrize("name", objectives.BUILDERS)
def test_every_objective_is_built_by_name(name, vit, batch):
    options = {"total_steps": 10} if name == "dino" else {}
    objective = objectives.build(name, vit, 12, **options)
    assert objective.name == name
    given = {
        key: jax.ShapeDtypeStruct(batch[key].shape, batch[key].dtype)
        for key in objective.requires
    }
    params, _ = jax.eval_shape(objective.init, jax.random.key(0), given)
    assert "vit" in params


def test_unknown_names_come_with_the_nearest(vit):
    with pytest.raises(objectives.ObjectiveError, match="'contrast': try contrastive"):
        objectives.build("contrast", vit, 12)
    with pytest.raises(
        objectives.ObjectiveError, match=r"contrastive, 'embed': try embed_dim"
    ):
        objectives.build("contrastive", vit, 12, embed=8)


def test_option_names_are_the_builders():
    assert "gene_dropout" in objectives.option_names("contrastive")
    assert "vit" not in objectives.option_names("contrastive")


def test_encode_is_the_encoder_without_stochastic_depth(vit, batch):
    params = ViT(vit).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
    tiles = batch["image"][:, 0]
    pixels = normalise(tiles, vit.mean, vit.std)
    wanted = ViT(vit).apply({"params": params}, pixels).pooled
    found = jax.jit(objectives.encode, static_argnums=0)(vit, params, tiles)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    half = objectives.encode(vit.replace(dtype="bfloat16"), params, tiles)
    assert half.dtype == jnp.float32
