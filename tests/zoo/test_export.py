"""What goes out: arrays that are equal, arguments that timm takes, one folder each."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file
from tiny_zoo import random_state, shrink, tiny_entry, write_weights

from pathjax import cli
from pathjax.models.model_file import Model, load_model, save_model
from pathjax.models.variants import ViTConfig
from pathjax.models.vit import ViT, vit_config
from pathjax.zoo import get, names
from pathjax.zoo.convert import from_state
from pathjax.zoo.entry import ZooError
from pathjax.zoo.export import at_size, export, mlp_ratio
from pathjax.zoo.importing import import_model


def imported(folder, name, **overrides):
    entry = tiny_entry(name, **overrides)
    file = write_weights(folder, entry)
    import_model(entry, file, folder / "model")
    return folder / "model", file


@pytest.mark.parametrize("name", ["virchow2", "uni2-h", "kaiko-vitb8", "gpfm"])
def test_timm_files_come_back_bit_for_bit(name, tmp_path):
    model, file = imported(tmp_path, name)
    export(model, "timm", tmp_path / "out")
    found, expected = load_file(tmp_path / "out" / "model.safetensors"), load_file(file)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in expected)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_args"]["img_size"] == 12 and config["num_classes"] == 0
    assert config["pretrained_cfg"]["mean"] == list(get(name).vit.mean)
    assert config["pretrained_cfg"]["crop_pct"] == 0.75
    assert config["pathjax"]["foundation"]["name"] == name
    assert "create_model" in (tmp_path / "out" / "README.md").read_text()


def test_scores_of_other_models_are_not_given_as_its_own(tmp_path, monkeypatch):
    model, _ = imported(tmp_path, "gpfm")
    others = [{"checkpoint": "run sha256:0123456789abcdef"}, {"checkpoint": None}]
    monkeypatch.setattr(
        "pathjax.evals.results.read_results",
        lambda path: SimpleNamespace(entries=others),
    )
    with pytest.raises(ZooError, match="results has scores of other models only"):
        export(model, "npz", tmp_path / "out", tmp_path / "results")
    assert not (tmp_path / "out").exists()


def test_npz(tmp_path):
    model, _ = imported(tmp_path, "hibou-b")
    assert (
        cli.main(
            ["export", str(model), "--format", "npz", "--out", str(tmp_path / "out")]
        )
        == 0
    )
    params = flatten_dict(load_model(model).params["vit"], sep="/")
    with np.load(tmp_path / "out" / "model.npz", allow_pickle=False) as arrays:
        assert set(arrays) == set(params)
        for name, leaf in params.items():
            np.testing.assert_array_equal(arrays[name], leaf)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    fields = {
        k: tuple(v) if isinstance(v, list) else v for k, v in config["vit"].items()
    }
    assert ViTConfig(**fields) == load_model(model).vit


def test_an_export_is_not_written_over(tmp_path):
    model, _ = imported(tmp_path, "dino-vits16")
    export(model, "npz", tmp_path / "out")
    with pytest.raises(ZooError, match="config.json.*choose another folder"):
        export(model, "timm", tmp_path / "out")
    with pytest.raises(ZooError, match="would be overwritten"):
        export(model, "timm", model)
    with pytest.raises(ZooError, match="expected one of timm, npz"):
        export(model, "onnx", tmp_path / "x")


@pytest.mark.parametrize("name", names())
def test_timm_gets_the_hidden_width_back(name):
    vit = get(name).vit
    hidden = vit.mlp_dim * (2 if vit.mlp == "swiglu" else 1)
    assert int(vit.width * mlp_ratio(vit)) == hidden


def test_hidden_widths_of_all_kinds():
    for width in (3, 7, 11, 384, 1280):
        for hidden in range(1, 400, 7):
            vit = vit_config("Xs/8", width=width, heads=1, mlp_dim=hidden)
            assert int(width * mlp_ratio(vit)) == hidden


@pytest.mark.slow
def test_positions_at_another_size_are_the_models_own():
    """At that size the export needs no resizing, and gives what the model does."""
    vit = shrink(get("midnight-12k").vit)
    params = from_state(random_state(vit, "hf_dinov2"), vit).params
    new, moved = at_size(vit, params, 20)
    assert new.grid == 5 and moved["pos_embed"].shape == (1, 26, 12)
    images = np.random.default_rng(0).normal(size=(1, 20, 20, 3)).astype(np.float32)
    expected = ViT(vit).apply({"params": params}, images).pooled
    found = ViT(new.replace(positions="timm")).apply({"params": moved}, images).pooled
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_of_a_run_only_the_encoder_goes(tmp_path):
    vit = shrink(get("dino-vits16").vit)
    params = from_state(random_state(vit, "timm"), vit).params
    meta = {"name": "tuned", "objective": {"name": "contrastive"}, "image_px": 12}
    heads = {"image_tower": {"kernel": np.zeros((2, 2), np.float32)}}
    stage = {"study": "s", "patients": ["P1"], "synthetic": True}
    stage |= {"fingerprint": "f", "slides": ["S1"]}
    model = Model({"vit": params, **heads}, vit, {**meta, "audit": [stage]})
    save_model(tmp_path / "run", model)
    export(tmp_path / "run", "npz", tmp_path / "out")
    with np.load(tmp_path / "out" / "model.npz") as arrays:
        assert not [name for name in arrays if "tower" in name]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "s, synthetic: 1 patients" in card and "Yours to choose" in card


@pytest.mark.peer
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"mlp": "swiglu"},  # without LayerScale, which timm's SwiGLU has
        {"mlp": "swiglu", "layerscale": 0.1, "registers": 2, "no_embed_class": True},
        {"gelu": "tanh", "registers": 3},
        {"pool": "mean", "layerscale": 1e-5},
        {"pool": "cls_mean"},
        {"mlp_dim": 37, "patch": 3},
    ],
)
def test_timm_loads_strictly_and_agrees(fields, tmp_path):
    import timm
    import torch

    vit = shrink(get("dino-vits16").vit, **fields)
    params = from_state(random_state(vit, "timm"), vit).params
    meta = {"name": "x", "objective": {"name": "dino"}, "image_px": 12, "audit": []}
    save_model(tmp_path / "run", Model({"vit": params}, vit, meta))
    weights, config, _ = export(tmp_path / "run", "timm", tmp_path / "out")
    hub = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    loaded = json.loads(config.read_text())
    direct = timm.create_model(
        loaded["architecture"], checkpoint_path=weights, **loaded["model_args"]
    ).eval()
    images = np.random.default_rng(0).normal(size=(2, 12, 12, 3)).astype(np.float32)
    ours = ViT(vit).apply({"params": params}, images)
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2))
    with torch.inference_mode():
        found = [one(pixels).numpy() for one in (hub, direct)]
    if vit.pool == "cls_mean":
        found = [
            np.concatenate([x[:, 0], x[:, 1 + vit.registers :].mean(1)], 1)
            for x in found
        ]
    for one in found:
        np.testing.assert_allclose(one, ours.pooled, rtol=2e-5, atol=2e-6)
    from timm.data import resolve_model_data_config

    assert tuple(resolve_model_data_config(hub)["mean"]) == vit.mean
