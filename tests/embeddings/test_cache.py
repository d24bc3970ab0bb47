"""Features are computed once, and again only for other parameters."""

import copy

import jax
import numpy as np
import pytest
from embedded import embed_tiles

from pathjax.embeddings.cache import cached, cached_embeddings, identity
from pathjax.models.model_file import Model, save_model
from pathjax.models.vit import ViT, vit_config

VIT = vit_config("Xs/8", image_px=16, depth=1, width=24, heads=3, mlp_dim=32)


def model_of(seed):
    params = ViT(VIT).init(jax.random.key(seed), np.zeros((1, 8, 8, 3)))["params"]
    return Model({"vit": jax.device_get(params)}, VIT, {"audit": [], "image_px": 16})


def test_features_of_the_same_maker_are_read(tiny_study, tmp_path):
    made = []

    def compute():
        made.append(len(made))
        return np.full((len(tiny_study.tiles), 3), len(made), np.float32)

    path = tmp_path / "features.h5"
    for name, value in (("a", 1), ("a", 1), ("b", 2), ("a", 3)):
        features = cached(path, name, tiny_study, compute)
        assert features.shape == (len(tiny_study.tiles), 3)
        assert (features == value).all()
    assert len(made) == 3


def test_features_of_another_study_are_computed_again(tiny_study, tmp_path):
    path = tmp_path / "features.h5"
    shape = (len(tiny_study.tiles), 3)
    cached(path, "a", tiny_study, lambda: np.zeros(shape, np.float32))
    other = copy.copy(tiny_study)
    other.fingerprint = "another"
    again = cached(path, "a", other, lambda: np.ones(shape, np.float32))
    assert (again == 1).all()
    path.write_bytes(b"damaged")
    again = cached(path, "a", other, lambda: np.ones(shape, np.float32))
    assert (again == 1).all()


def test_embeddings_follow_the_parameters(tiny_study, tmp_path):
    path = tmp_path / "embeddings.h5"
    for seed in (0, 1):
        model = model_of(seed)
        found = cached_embeddings(path, model, f"model {seed}", tiny_study)
        np.testing.assert_allclose(found, embed_tiles(model, tiny_study), atol=1e-6)


def test_identity_is_of_the_content(tmp_path):
    for seed in (0, 1):
        save_model(tmp_path / str(seed), model_of(seed))
    one = identity(tmp_path / "0")
    assert one == identity(tmp_path / "0" / "model.safetensors")
    assert one.split()[1] != identity(tmp_path / "1").split()[1]
    with pytest.raises(FileNotFoundError):
        identity(tmp_path / "2")
