"""Objectives with a gene tower: the default as before, one's own, and trust in files."""

import dataclasses

import jax
import numpy as np
import pytest

from pathjax import objectives
from pathjax.gene_towers import GeneTower
from pathjax.models.expression import ExpressionMLP
from pathjax.models.model_file import Model
from pathjax.objectives import ObjectiveError, Spec
from pathjax.registry import RegistryError
from pathjax.rng import stream


class Wide(GeneTower):
    """Of another width than the objective's."""

    def module(self, resources, shared):
        return ExpressionMLP((5,))


def test_the_default_is_as_before_and_the_head_has_the_towers_width(vit, batch, jit):
    spec = Spec(vit, 12, cached=True)
    given = {"embedding": np.zeros((8, 1, vit.embed_dim), np.float32)}
    key = jax.random.key(0)
    contrastive = objectives.build("contrastive", spec, widths=[16, 7], embed_dim=8)
    params, _ = jit(contrastive.init)(key, given)
    module = ExpressionMLP((16, 7), 0.1, 0.0)
    blank = np.zeros((1, 12), np.float32)
    expected = jit(module.init)(stream(key, "init/expression", 0), blank)["params"]
    jax.tree.map(np.testing.assert_array_equal, params["expression"], expected)
    assert params["expression_head"]["out"]["kernel"].shape == (7, 8)
    own = dataclasses.replace(contrastive, expression_tower=Wide())
    params, _ = jax.eval_shape(own.init, key, given)
    assert params["expression_head"]["out"]["kernel"].shape == (5, 8)
    with pytest.raises(ObjectiveError, match="set its name, such as"):
        objectives.make("contrastive", {"expression_tower": "mlp"})


def test_a_model_file_does_not_choose_what_is_imported(vit):
    options = {"name": "contrastive", "expression_tower": {"name": "antigravity:Fly"}}
    meta = {"objective": options, "panel": {"genes": ["A"], "std": [1.0]}}
    with pytest.raises(RegistryError, match="add --allow-code antigravity"):
        objectives.of_model(Model({}, vit, meta))
