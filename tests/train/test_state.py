"""Making a state: starting weights, frozen parts, and what does not fit."""

import jax
import numpy as np
import pytest

from pathjax import objectives
from pathjax.models.vit import vit_config
from pathjax.parallel.mesh import make_mesh
from pathjax.train.optim import make_optimizer
from pathjax.train.state import abstract_state, make_state, replace_subtree

VIT = vit_config("Xs/8", width=24, depth=1, mlp_dim=32, image_px=16)
EXAMPLE = {
    "crops_global": jax.ShapeDtypeStruct((8, 2, 16, 16, 3), "uint8"),
    "crops_local": jax.ShapeDtypeStruct((8, 1, 8, 8, 3), "uint8"),
    "mask": jax.ShapeDtypeStruct((8,), "bool"),
}


def make(**options):
    objective = objectives.build(
        "dino", objectives.Spec(VIT, steps=5), prototypes=8, hidden=8, bottleneck=4
    )
    tx = make_optimizer(lambda s: 1e-3, weight_decay=0.1, clip=1.0, b2=0.9, vit_lr=1.0)
    key = jax.random.key(options.pop("seed", 0))
    return make_state(objective, tx, key, EXAMPLE, make_mesh(), **options)[0]


@pytest.mark.slow
def test_a_function_of_the_key_alone():
    same = jax.tree.map(np.array_equal, make().params, make().params)
    assert all(jax.tree.leaves(same))
    kernel = lambda s: s.params["vit"]["blocks_0"]["attn"]["qkv"]["kernel"]
    assert not np.array_equal(kernel(make()), kernel(make(seed=1)))


def test_the_teacher_follows_given_weights():
    given = jax.device_get(make(seed=3).params["vit"])
    state = make(init={"vit": given}, init_name="base")
    for tree in (state.params["vit"], state.extra["teacher"]["vit"]):
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, tree, given)))


@pytest.mark.slow
def test_frozen_parameters_have_no_moments():
    whole, part = make(), make(freeze=("^vit/",))
    assert "vit" in part.frozen and "vit" not in part.params
    count = lambda s: sum(x.size for x in jax.tree.leaves(s.opt_state))
    assert count(part) < count(whole) / 2


def test_all_that_does_not_fit_is_said_at_once():
    params = {"vit": {"a": np.zeros((2, 2)), "b": np.zeros(3)}, "head": {"c": 1}}
    given = {"vit": {"a": np.zeros((2, 3)), "z": np.zeros(1)}}
    with pytest.raises(ValueError) as caught:
        replace_subtree(params, given, "base.safetensors")
    text = str(caught.value)
    for part in (
        "base.safetensors does not fit the model (3 entries)",
        "vit/b is missing",
        "vit/z is unexpected",
        "vit/a is (2, 3), expected (2, 2)",
    ):
        assert part in text


def test_abstract_state_keeps_shardings():
    state = make()
    abstract = abstract_state(state)
    same = jax.tree.map(
        lambda a, b: (a.shape, a.dtype, a.sharding) == (b.shape, b.dtype, b.sharding),
        abstract,
        state,
    )
    assert all(jax.tree.leaves(same))
