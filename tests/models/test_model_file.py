"""model.safetensors: exact, self-describing, and refused when it is something else."""

import resource
import signal

import numpy as np
import pytest
from safetensors.numpy import save_file

from pathjax.models.model_file import (
    FILE,
    Model,
    ModelFileError,
    load_model,
    save_model,
)
from pathjax.models.vit import vit_config


def make_model():
    random = np.random.default_rng(0)
    params = {
        "vit": {"block": {"kernel": random.normal(size=(3, 4)).astype(np.float32)}},
        # Fortran's order, and a scalar: neither may come back otherwise.
        "head": {"bias": np.arange(6, dtype=np.float32).reshape(2, 3).T},
        "temperature": {"log_scale": np.float32(2.5)},
    }
    meta = {"panel": None, "image_px": 16, "audit": []}
    return Model(params, vit_config("Xs/8", image_px=16, mean=(0.1, 0.2, 0.3)), meta)


def test_round_trip(tmp_path):
    model = make_model()
    path = save_model(tmp_path, model)
    for source in (tmp_path, path):
        back = load_model(source)
        assert back.vit == model.vit and back.meta == model.meta
        got = back.params["vit"]["block"]["kernel"]
        np.testing.assert_array_equal(got, model.params["vit"]["block"]["kernel"])
        bias, scale = (back.params[k] for k in ("head", "temperature"))
        np.testing.assert_array_equal(bias["bias"], model.params["head"]["bias"])
        assert scale["log_scale"].shape == () and scale["log_scale"] == 2.5
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


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
