"""model.safetensors: exact, self-describing, and refused when it is something else."""

import resource
import signal

import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from safetensors.numpy import save_file

from pathjax.models.model_file import (
    FILE,
    Model,
    ModelFileError,
    load_model,
    save_model,
)
from pathjax.models.variants import param_shapes, vit_config


def make_model():
    random = np.random.default_rng(0)
    vit = vit_config("Xs/8", depth=1, image_px=16, mean=(0.1, 0.2, 0.3))
    leaves = {
        tuple(path.split("/")): random.normal(size=shape).astype(np.float32)
        for path, shape in param_shapes(vit).items()
    }
    params = {
        "vit": unflatten_dict(leaves),
        # Fortran's order, and a scalar: neither may come back otherwise.
        "head": {"bias": np.arange(6, dtype=np.float32).reshape(2, 3).T},
        "temperature": {"log_scale": np.float32(2.5)},
    }
    meta = {
        "objective": {"name": "imported"},
        "panel": None,
        "image_px": 16,
        "audit": [],
    }
    return Model(params, vit, meta)


def test_round_trip(tmp_path):
    model = make_model()
    path = save_model(tmp_path, model)
    for source in (tmp_path, path):
        back = load_model(source)
        assert back.vit == model.vit and back.meta == model.meta
        got, expected = (one.params["vit"]["patch_embed"] for one in (back, model))
        np.testing.assert_array_equal(got["kernel"], expected["kernel"])
        bias, scale = (back.params[k] for k in ("head", "temperature"))
        np.testing.assert_array_equal(bias["bias"], model.params["head"]["bias"])
        assert scale["log_scale"].shape == () and scale["log_scale"] == 2.5
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.meta.pop("objective"), "the header.meta lacks objective"),
        (lambda m: m.meta.update(image_px=0), "expected images of 1 to"),
        (lambda m: m.meta.update(audit=[{}]), "lacks study, fingerprint"),
        (lambda m: m.params["vit"].pop("cls_token"), "an encoder with no cls_token"),
        (lambda m: m.params["vit"].pop("blocks_0"), "0 blocks, expected 1"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, change, message):
    model = make_model()
    change(model)
    save_model(tmp_path, model)
    with pytest.raises(ModelFileError, match=message):
        load_model(tmp_path)


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(
        ModelFileError, match="expected a run folder with model.safetensors"
    ):
        load_model(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(3, np.float32)}, foreign)
    with pytest.raises(ModelFileError, match="weights that pathjax did not write"):
        load_model(foreign)
    path = save_model(tmp_path, make_model())
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelFileError, match="not a complete safetensors file"):
        load_model(tmp_path)


def test_a_full_disk_is_named_and_the_model_that_is_there_stays(tmp_path):
    path = save_model(tmp_path, make_model())
    before = path.read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(ModelFileError, match="could not be written.*make room"):
            save_model(tmp_path, make_model())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in tmp_path.iterdir()] == [FILE]
    assert path.read_bytes() == before
