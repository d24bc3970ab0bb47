"""The registry: every objective by name, options checked by name; the encoder alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax import objectives
from pathjax.models.vit import ViT, normalise
from pathjax.objectives import ObjectiveError, Spec
from pathjax.registry import RegistryError


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_every_objective_is_built_by_name(name, vit, batch):
    objective = objectives.build(name, Spec(vit, 12, steps=10))
    given = {
        key: jax.ShapeDtypeStruct(batch[key].shape, batch[key].dtype)
        for key in objective.requires
    }
    params, _ = jax.eval_shape(objective.init, jax.random.key(0), given)
    assert ("vit" in params) == (objective.views is not None)
    assert hash(objective) == hash(objectives.build(name, Spec(vit, 12, steps=10)))


def test_unknown_names_and_options_come_with_the_nearest(vit):
    with pytest.raises(RegistryError, match="'contrast'; did you mean 'contrastive'"):
        objectives.make("contrast", {})
    with pytest.raises(
        ObjectiveError,
        match=r"unknown option 'objective.embed' of contrastive; did you mean 'embed_",
    ):
        objectives.make("contrastive", {"embed": 8})


def test_what_is_needed_is_what_a_batch_must_have(vit):
    def requires(name, spec, **options):
        return set(objectives.build(name, spec, **options).requires)

    spec = Spec(vit, 12)
    assert requires("regression", spec) == {"mask", "image", "expression"}
    counts = {"mask", "image", "counts", "library"}
    assert requires("regression", spec, loss="negative_binomial") == counts
    text = {"text", "has_expression", "has_text"}
    three = {"mask", "embedding", "expression", "pair_id"} | text
    assert requires("contrastive", Spec(vit, 12, 5, cached=True)) == three
    crops = {"mask", "crops_global", "crops_local"}
    assert requires("dino", Spec(vit, steps=5)) == crops
    with pytest.raises(ObjectiveError, match="does not read text"):
        objectives.build("regression", Spec(vit, 12, 5))


def test_encode_is_the_encoder_without_stochastic_depth(deep, batch, jit):
    vit, image = deep, jnp.zeros((1, 16, 16, 3))
    params = jit(ViT(vit).init)(jax.random.key(0), image)["params"]
    tiles = batch["image"][:, 0]
    pixels = normalise(tiles, vit.mean, vit.std)
    expected = jit(ViT(vit).apply)({"params": params}, pixels).pooled
    encode = jit(objectives.encode, static_argnums=0)
    found = encode(vit, params, tiles)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    half = encode(vit.replace(dtype="bfloat16"), params, tiles)
    assert half.dtype == jnp.float32


def test_options_are_checked_by_one_signature(vit, monkeypatch):
    """`problems(self, batch)` is called with one argument, and no other one is accepted."""

    @dataclasses.dataclass(frozen=True)
    class Mine(objectives.OBJECTIVES["regression"]):
        size: int = 1

        def problems(self, batch):
            problems = super().problems(batch)
            return problems + ["size=0: expected 1 or more"] * (not self.size)

    class Bare(Mine):
        def problems(self):
            return []

    kinds = dict(objectives.OBJECTIVES) | {"mine": Mine, "bare": Bare}
    monkeypatch.setattr(objectives, "OBJECTIVES", kinds)
    assert objectives.make("mine", {}).setup(Spec(vit, 5)).size == 1
    with pytest.raises(ObjectiveError, match="objective Mine: size=0: expected 1"):
        objectives.build("mine", Spec(vit, 5), size=0)
    with pytest.raises(
        ObjectiveError,
        match=r"bare: expected a method problems\(self, batch\), got pro",
    ):
        objectives.make("bare", {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"embed_dim": ""}, "embed_dim='': expected a whole number"),
        ({"embed_dim": 8.5}, "embed_dim=8.5: expected a whole number"),
        ({"dropout": "0.1"}, "dropout='0.1': expected a number"),
        ({"dropout": True}, "dropout=True: expected a number"),
        ({"loss": 3}, "loss=3: expected text"),
        ({"widths": 16}, "widths=16: expected a list"),
        (
            {"widths": ["a"]},
            r"widths=\('a',\): expected a list of which each is a number",
        ),
    ],
)
def test_an_option_of_another_kind_is_named(options, said):
    with pytest.raises(objectives.ObjectiveError, match=f"objective.{said}"):
        objectives.make("contrastive", options)
