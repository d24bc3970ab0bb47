"""What each mode trains: names against the real parameters of an encoder."""

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from pathjax.models.adaptation import Adaptation
from pathjax.models.vit import ViT, vit_config
from pathjax.train.optim import split_frozen

VIT = vit_config("Xs/8", image_px=16, depth=12, width=24, heads=3, mlp_dim=32)
OPTIONS = {
    "mode": "full",
    "blocks": 2,
    "rank": 2,
    "alpha": 4.0,
    "targets": ("qkv", "fc1"),
}


def trained(vit, **options):
    """Paths that the mode trains, of an encoder with a head."""
    adaptation = Adaptation(**(OPTIONS | options))
    vit = vit.replace(lora=adaptation.lora())
    image = jnp.zeros((1, 8, 8, 3))
    params = jax.eval_shape(ViT(vit).init, jax.random.key(0), image)["params"]
    whole = {"vit": params, "head": {"kernel": jnp.zeros(())}}
    return set(flatten_dict(split_frozen(whole, adaptation.frozen(vit))[0], sep="/"))


def test_full_trains_everything():
    everything = trained(VIT)
    assert "vit/pos_embed" in everything and "head/kernel" in everything


def test_last_trains_the_last_blocks_and_the_norm():
    found = trained(VIT, mode="last", blocks=2)
    tops = {path.split("/")[1] for path in found if path.startswith("vit/")}
    # Not blocks_1, whose name begins like theirs.
    assert tops == {"norm", "blocks_10", "blocks_11"}
    assert "head/kernel" in found
    with pytest.raises(ValueError, match="the encoder has 12 blocks"):
        trained(VIT, mode="last", blocks=13)
    with pytest.raises(ValueError, match="set model.scan=false"):
        trained(VIT.replace(scan=True), mode="last")


@pytest.mark.parametrize("scan", [False, True])
def test_lora_trains_adapters_of_the_targets(scan):
    found = trained(VIT.replace(scan=scan), mode="lora") - {"head/kernel"}
    assert len(found) == (4 if scan else 48)
    assert {tuple(path.split("/")[-2:]) for path in found} == {
        (linear, leaf) for linear in ("qkv", "fc1") for leaf in ("lora_a", "lora_b")
    }


def test_problems_are_said_together():
    assert Adaptation(**OPTIONS).problems() == []
    (found,) = Adaptation(**(OPTIONS | {"mode": "adapters"})).problems()
    assert "expected one of" in found
    (found,) = Adaptation(**(OPTIONS | {"mode": "lora", "rank": 0})).problems()
    assert "rank=0" in found
    (found,) = Adaptation(**(OPTIONS | {"mode": "last", "blocks": 0})).problems()
    assert "adapt.blocks=0" in found
