"""Objectives with a gene tower: the default as before, one's own, and trust in files."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from pathjax import objectives
from pathjax.gene_towers import GeneTower
from pathjax.models.expression import ExpressionMLP
from pathjax.models.model_file import Model
from pathjax.objectives import ObjectiveError, Spec
from pathjax.registry import RegistryError
from pathjax.rng import stream
from pathjax.train.accumulate import value_and_grad


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


COLUMNS = [3, 1, 0, 7, 9]
RESOURCES = {
    "external": {"dimensions": 5},
    "pathways": {"gene_sets": {"a": [0, 1, 2], "b": [2, 5, 7, 11], "c": [3]}},
    "vae": {"columns": COLUMNS, "scale": [2.0] * 5, "shift": [0.5] * 5,
            "widths": [16], "latent": 4},
}  # fmt: skip
OPTIONS = {
    "external": {"vectors": "v.npz"},
    "pathways": {"gene_sets": "s.gmt", "width": 8, "heads": 2},
    "vae": {"init": "run", "tune": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RESOURCES)
def test_rows_devices_and_parts(vit, batch, jit, name):
    """As of every loss: padding, unmeasured genes, devices and micro-batches."""
    spec = Spec(vit, 12, cached=True, partial=True, resources=RESOURCES[name])
    options = {"embed_dim": 8, "widths": [16], "dropout": 0.0}
    tower = {"name": name, **OPTIONS[name]}
    objective = objectives.build("contrastive", spec, expression_tower=tower, **options)
    random = np.random.default_rng(0)
    known = random.random((8, 12)) > 1 / 3
    known[:, 3] = True
    image = random.normal(size=(8, 1, vit.embed_dim)).astype(np.float32)
    vectors = random.normal(size=(8, 5)).astype(np.float32)
    vectors[6:] = np.nan
    made = dict(batch) | {"embedding": image, "vectors": vectors, "measured": known}
    made["expression"] = jnp.where(known, batch["expression"], jnp.nan)
    given = {key: jnp.asarray(made[key]) for key in objective.requires}
    assert ("vectors" in given) == (name == "external")
    params, _ = jit(objective.init)(jax.random.key(0), given)

    def gradient(batch, parts):
        def represent(params, rows, part):
            return objective.represent(params, {}, rows, jax.random.key(1), 0, False)

        def compare(params, rows):
            values, _, _ = objective.compare(params, {}, rows, batch, 0)
            return jnp.where(batch["mask"], values, 0).sum() / 6, None

        return value_and_grad(represent, compare, params, batch, parts)

    run = jit(gradient, static_argnums=1)
    expected = run(given, 1)
    (value, _), gradients = expected
    assert np.isfinite(value)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        # A bias of all keys alike changes no softmax.
        alike = "key" in jax.tree_util.keystr(path[:-1])
        assert alike or np.any(np.asarray(leaf)), f"no gradient reaches {path}"
    spoilt = {
        key: jnp.nan_to_num(rows, nan=1e9) if rows.dtype == jnp.float32 else rows
        for key, rows in given.items()
    }
    jax.tree.map(np.testing.assert_array_equal, run(spoilt, 1), expected)
    key = "vectors" if name == "external" else "expression"
    moved = given | {key: given[key].at[0, 3].add(3.0)}
    assert run(moved, 1)[0][0] != value
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    divided = jax.device_put(given, NamedSharding(mesh, PartitionSpec("data")))
    for found in (run(divided, 1), run(given, 4)):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5 * max(1, np.abs(b).max()))
