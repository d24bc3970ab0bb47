"""A run goes on with other devices than it was begun with."""

import jax
import numpy as np
import pytest
from tiny_study import config_for

from pathjax.config import sections
from pathjax.models.model_file import load_model
from pathjax.parallel import mesh
from pathjax.parallel.mesh import MeshError, make_mesh
from pathjax.train import train
from pathjax.train.checkpoint import Checkpoints

STEPS = {"val_fold": "val", "eval.every": 3, "log.every": 1}


@pytest.fixture
def on_devices(monkeypatch):
    """Returns train(devices, config, workdir, ...) on some of the simulated ones."""
    # A small model has no arrays of the size that is divided otherwise.
    monkeypatch.setattr(mesh.state_sharding, "__defaults__", (1024,))

    def run(devices, *args):
        def some(data, fsdp, _):
            return make_mesh(data, fsdp, among=jax.devices()[:devices])

        monkeypatch.setattr(sections, "make_mesh", some)
        return train(*args)

    return run


class Stopped(Exception):
    pass


def stop(done, note=""):
    if done == 5:  # the newest checkpoint is of step 4
        raise Stopped


def host(state):
    flat, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


@pytest.mark.slow
def test_eight_devices_then_four_then_one(
    tiny_study, tmp_path, on_devices, monkeypatch, caplog
):
    """The state is exactly that which was saved; the run ends where it would have."""
    begun = config_for(tiny_study, **STEPS, **{"mesh.fsdp": 8})
    on_devices(8, begun, tmp_path / "whole")
    with pytest.raises(Stopped):
        on_devices(8, begun, tmp_path / "run", stop)
    assert "resuming from" not in caplog.text

    restored = []
    restore = Checkpoints.restore

    def noted(self, step, like):
        restored.append((step, restore(self, step, like)))
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "restore", noted)
        for devices, fsdp in ((8, 8), (4, 2), (1, 1)):
            config = config_for(tiny_study, **STEPS, **{"mesh.fsdp": fsdp})
            with pytest.raises(Stopped):
                on_devices(devices, config, tmp_path / "run")
    (_, eight), (_, four), (step, one) = restored
    assert step == 4
    for state, devices in ((eight, 8), (four, 4), (one, 1)):
        assert len(jax.tree.leaves(state)[0].sharding.device_set) == devices
    # Parameters, both moments and the counts of the optimiser.
    wanted = host(eight)
    assert sum(".opt_state" in name for name in wanted) > 20
    for state in (four, one):
        found = host(state)
        assert found.keys() == wanted.keys()
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)

    config = config_for(tiny_study, **STEPS, **{"mesh.fsdp": 2})
    on_devices(4, config, tmp_path / "run")
    said = caplog.text
    assert "resuming from step 4, saved elsewhere (layout devices: 8 there, 4" in said
    a, b = load_model(tmp_path / "whole").params, load_model(tmp_path / "run").params
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 0, 1e-4), a, b)


@pytest.mark.slow
def test_the_batch_has_to_divide_over_the_new_devices(tiny_study, tmp_path, on_devices):
    config = config_for(tiny_study, **{"data.batch": 4, "optim.steps": 2})
    on_devices(4, config, tmp_path)
    with pytest.raises(MeshError, match="data.batch=4 does not divide over 8 devices"):
        on_devices(8, config, tmp_path)
