"""The step trains and the encoder embeds: ours here, PyTorch's where installed."""

import dataclasses

import jax
import numpy as np
import pytest

from pathjax import objectives
from pathjax.bench import forward, step
from pathjax.bench.step import Step, synthetic_batch
from pathjax.models.vit import vit_config
from pathjax.parallel.mesh import make_mesh

# Sizes of the smallest ViT; the batch divides over the tests' eight devices.
TINY = step.Options(
    variant="Xs/8", image_px=16, batch=8, genes=12, layers=2, width=8, embed_dim=4
)


TINY_FORWARD = forward.Options(variant="Xs/8", image_px=16, batch=4)


def tiny(name, bench=step, options=TINY):
    (entry,) = (e for e in bench.entries(options) if e.name == name)
    return dict(entry.options)


@pytest.fixture(scope="module")
def ours():
    return Step(tiny("pathjax"), make_mesh(among=jax.devices()[:1]))


@pytest.mark.slow
def test_it_is_the_training_step(ours):
    before = jax.tree.map(np.asarray, ours._state.params)
    taken = int(ours._state.step)
    assert ours.run(2) == 2 * TINY.batch
    assert int(ours._state.step) == taken + 2
    moved = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), before, ours._state.params
    )
    # Biases of keys have no gradient, but some parameter of every module moves.
    assert all(any(jax.tree.leaves(part)) for part in moved.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["anchored", "lora-anchored"])
def test_an_anchor_has_one_more_forward_pass(ours, name):
    """And LoRA trains little of it; the base's encoder is kept only without adapters."""
    step = Step(tiny(name))
    extra = jax.tree.leaves(step._state.extra)
    assert bool(extra) == (name == "anchored") and "anchor" in step.logs
    trained = sum(leaf.size for leaf in jax.tree.leaves(step._state.params["vit"]))
    whole = sum(leaf.size for leaf in jax.tree.leaves(ours._state.params["vit"]))
    assert trained == whole if name == "anchored" else trained < whole


@pytest.mark.slow
def test_info_says_what_was_run(ours):
    info = ours.info
    assert info["versions"]["jax"] == jax.__version__
    assert info["parameters"] == sum(
        p.size for p in jax.tree.leaves(ours._state.params)
    )
    assert info["note"].startswith("allocator: ")
    # At least two operations per multiplication, forward and twice backward, of the
    # ViT's own matrices for 5 tokens.
    config = tiny("pathjax")["vit"]
    width, depth = config["width"], config["depth"]
    matrices = depth * (4 * width**2 + 2 * width * config["mlp_dim"])
    least = 6 * 5 * matrices
    assert least < info["flops_per_image"] < 3 * least


def test_batches_are_the_same_in_every_process():
    options = dataclasses.asdict(TINY)
    a, b = (synthetic_batch(options) for _ in range(2))
    assert all(np.array_equal(a[key], b[key]) for key in a)
    assert len(set(a["pair_id"])) == TINY.batch and a["image"].dtype == np.uint8


@pytest.mark.peer
@pytest.mark.parametrize("name", ["torch", "torch-bf16"])
def test_peer_has_the_same_parameters_and_learns(ours, name):
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    from pathjax.bench.torch_peers import TorchStep, info_nce

    peer = TorchStep(tiny(name))
    assert peer.info["parameters"] == ours.info["parameters"]
    for group in peer._optimizer.param_groups:
        group["lr"] = 1e-3
    with torch.no_grad():
        before = info_nce(*peer._model.eval()(peer._image, peer._genes))
    peer._model.train()
    assert peer.run(10) == 10 * TINY.batch
    with torch.no_grad():
        after = info_nce(*peer._model.eval()(peer._image, peer._genes))
    assert after < before


@pytest.mark.peer
def test_the_peer_trains_adapters_as_ours_does():
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    from pathjax.bench.torch_peers import TorchStep

    peer, ours = TorchStep(tiny("torch-lora")), Step(tiny("lora"))
    assert peer.info["parameters"] == ours.info["parameters"]
    trained = sum(p.size for p in jax.tree.leaves(ours._state.params))
    groups = peer._optimizer.param_groups
    assert trained == sum(p.numel() for group in groups for p in group["params"])
    frozen = peer._model.vit.blocks[0].mlp.fc1.linear.weight.clone()
    adapter = peer._model.vit.blocks[0].mlp.fc1.up.weight.clone()
    peer.run(2)
    block = peer._model.vit.blocks[0]
    assert torch.equal(frozen, block.mlp.fc1.linear.weight)
    assert not torch.equal(adapter, block.mlp.fc1.up.weight)


@pytest.mark.peer
def test_losses_agree():
    torch = pytest.importorskip("torch")
    pytest.importorskip("timm")
    from pathjax import losses
    from pathjax.bench.torch_peers import info_nce

    random = np.random.default_rng(0)
    z = random.normal(size=(2, 6, 4)).astype(np.float32)
    z /= np.linalg.norm(z, axis=-1, keepdims=True)
    scale = np.float32(1.3)
    theirs = info_nce(*torch.from_numpy(z), torch.tensor(scale))
    mask, pairs = np.ones(6, bool), np.arange(6, dtype=np.int32)
    ours = losses.info_nce(z[0], z[1], jax.numpy.asarray(scale), mask, pairs).mean()
    assert np.isclose(float(ours), theirs.item(), atol=1e-6)


@pytest.mark.parametrize(
    "name", ["pathjax", pytest.param("pathjax-bf16", marks=pytest.mark.slow)]
)
def test_forward_is_the_encoder(name):
    options = tiny(name, forward, TINY_FORWARD)
    ours = forward.Forward(options)
    assert ours.run(2) == 8
    vit = vit_config("Xs/8", image_px=16, dtype=options["dtype"])
    expected = objectives.encode(vit, ours._params, ours._images)
    got = ours._step(ours._params, ours._images)
    assert got.shape == (4, vit.width) and got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5 if name == "pathjax" else 0.1)
    assert ours.info["parameters"] == sum(p.size for p in jax.tree.leaves(ours._params))


@pytest.mark.peer
def test_the_peer_embeds_as_many():
    pytest.importorskip("timm")
    from pathjax.bench.torch_peers import TorchForward

    theirs = TorchForward(tiny("torch", forward, TINY_FORWARD))
    assert theirs.run(2) == 8
    ours = forward.Forward(tiny("pathjax", forward, TINY_FORWARD))
    assert theirs.info["parameters"] == ours.info["parameters"]
