"""What the contrastive step sends between devices, against what it cannot do without.

From the compiled module. The least is: embeddings gathered once, their gradients
scattered once; of each parameter's gradient one sum; and under FSDP a gather before the
forward and before the backward pass and one reduce-scatter (ZeRO-3, Rajbhandari et al.
2020, section 7.2.2: 3 times the parameters).
"""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh

from pathjax import objectives
from pathjax.models.vit import vit_config
from pathjax.parallel import mesh as meshes
from pathjax.parallel.mesh import AXES
from pathjax.plan.collectives import collectives
from pathjax.train.optim import make_optimizer
from pathjax.train.program import Program

BATCH, EMBED = 256, 128


def program(devices, shape, *, scan=False, chunk=0, loss="infonce"):
    mesh = Mesh(np.reshape(devices, shape), AXES, axis_types=(AxisType.Auto,) * 2)
    size = {"width": 96, "heads": 3, "depth": 2, "mlp_dim": 192, "image_px": 32}
    vit = vit_config("Xs/8", **size, scan=scan, remat=scan)
    objective = objectives.build(
        "contrastive",
        objectives.Spec(vit, 256),
        loss=loss,
        chunk=chunk,
        embed_dim=EMBED,
        widths=(128,),
    )
    tx = make_optimizer(
        lambda step: 1e-3, weight_decay=0.01, clip=1.0, b2=0.999, vit_lr=0.5, depth=2
    )
    example = {
        "image": ((BATCH, 1, 32, 32, 3), "uint8"),
        "expression": ((BATCH, 256), "float32"),
        "mask": ((BATCH,), "bool"),
        "pair_id": ((BATCH,), "int32"),
    }
    shapes = {name: jax.ShapeDtypeStruct(*form) for name, form in example.items()}
    return Program(objective, tx, shapes, (), mesh, 1)


def least(state, shape, gathered=4):
    """Bytes a device has to send; `gathered` are those of a parameter that travels."""
    data, fsdp = shape
    devices = data * fsdp
    total = 2 * BATCH * EMBED * (gathered + 4) * (devices - 1) / devices
    for leaf in jax.tree.leaves(state.params):
        if leaf.sharding.is_fully_replicated:
            total += 2 * 4 * leaf.size * (devices - 1) / devices
        else:
            total += (2 * gathered + 4) * leaf.size * (fsdp - 1) / fsdp
            total += 2 * 4 * leaf.size / fsdp * (data - 1) / data
    return total


def sent(one, monkeypatch):
    """Bytes that a device sends in the compiled step, and the state's shapes."""
    monkeypatch.setattr(meshes.state_sharding, "__defaults__", (1 << 12,))
    state, shardings = one.abstract_state()
    key = jax.eval_shape(lambda: jax.random.key(0))
    lowered = one.train_step(shardings).lower(state, one.abstract_batch(), key)
    found = collectives(lowered.compile().as_text())
    assert all(each.exact for each in found)
    return sum(one.moved_bytes for one in found), state


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((8, 1), {}),
        pytest.param((8, 1), {"chunk": 64, "scan": True}, marks=pytest.mark.slow),
        pytest.param((1, 8), {"loss": "sigmoid"}, marks=pytest.mark.slow),
        pytest.param((2, 4), {}, marks=pytest.mark.slow),
    ],
)
def test_the_step_sends_what_it_has_to(shape, options, monkeypatch):
    one = program(jax.devices(), shape, **options)
    moved, state = sent(one, monkeypatch)
    # The CPU's compiler gathers once, and sums whole gradients in place of scattering
    # them: as many bytes as ZeRO-3's.
    assert moved <= 1.1 * least(state, shape)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "scan"), [((8, 1), False), ((2, 4), True), ((1, 8), True)]
)
def test_compiled_for_tpus_too(shape, scan, monkeypatch):
    pytest.importorskip("libtpu")
    from jax.experimental.topologies import get_topology_desc

    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    devices = get_topology_desc("v5e:2x4", "tpu").devices
    one = program(devices, shape, scan=scan, chunk=64 if scan else 0)
    moved, state = sent(one, monkeypatch)
    # What a matrix product rounds to bfloat16 travels as such.
    assert moved <= 1.1 * least(state, shape, gathered=2)
