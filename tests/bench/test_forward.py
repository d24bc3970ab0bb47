"""The forward worker embeds what the encoder embeds; PyTorch's where it is installed."""

import jax
import numpy as np
import pytest

from pathjax import objectives
from pathjax.bench.contestants import vit_entries
from pathjax.bench.forward import Forward
from pathjax.bench.options import ForwardOptions
from pathjax.models.vit import vit_config

TINY = ForwardOptions(variant="Xs/8", image_px=16, batch=4)


def tiny(name):
    return dict(vit_entries("forward", TINY)[name].options)


@pytest.mark.parametrize("name", ["pathjax", "pathjax-bf16"])
def test_it_is_the_encoder(name):
    options = tiny(name)
    ours = Forward(options)
    assert ours.run(2) == 2 * TINY.batch
    vit = vit_config("Xs/8", image_px=16, dtype=options["dtype"])
    wanted = objectives.encode(vit, ours._params, ours._images)
    found = ours._step(ours._params, ours._images)
    assert found.shape == (4, vit.width) and found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=1e-5 if name == "pathjax" else 0.1)
    assert ours.info["parameters"] == sum(p.size for p in jax.tree.leaves(ours._params))


@pytest.mark.peer
def test_the_peer_embeds_as_many():
    pytest.importorskip("timm")
    from pathjax.bench.forward_peer import TorchForward

    theirs = TorchForward(tiny("torch"))
    assert theirs.run(2) == 2 * TINY.batch
    assert theirs.info["parameters"] == Forward(tiny("pathjax")).info["parameters"]
