"""An imported model is a model: embedded, probed, and started from."""

import dataclasses
import hashlib
import json
import re

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_study import config_for
from tiny_zoo import random_state, tiny_entry, write_weights

from pathjax import cli
from pathjax.models.model_file import load_model
from pathjax.train.trainer import train
from pathjax.zoo import get, importing
from pathjax.zoo.entry import ZooError
from pathjax.zoo.importing import import_model


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A tiny Virchow2: SwiGLU, registers, CLS and mean."""
    folder = tmp_path_factory.mktemp("zoo")
    entry = tiny_entry("virchow2")
    import_model(entry, write_weights(folder, entry), folder / "model")
    return folder / "model"


def test_what_the_file_says(imported, tmp_path):
    model = load_model(imported)
    entry = tiny_entry("virchow2")
    assert model.vit == entry.vit
    origin = model.meta["foundation"]
    assert origin["name"] == "virchow2" and origin["share_derivatives"] is False
    assert origin["source"] == "file:virchow2.safetensors"
    assert re.fullmatch("[0-9a-f]{64}", origin["weights_sha256"])
    form = {"resize": 16, "crop": 12, "interpolation": "bicubic"}
    assert model.meta["preprocess"] == origin["preprocess"] == form
    assert model.meta["image_px"] == 12 and model.meta["audit"] == []
    leaf = model.params["vit"]["blocks_1"]["mlp"]["fc1"]["kernel"]
    assert leaf.dtype == np.float32 and leaf.shape == (12, 20)


def test_the_input_stays_when_the_grid_is_another(tmp_path):
    entry = tiny_entry("kaiko-vitl14")
    file = tmp_path / "w.safetensors"
    save_file(random_state(entry.vit.replace(image_px=28), "timm"), file)
    model = import_model(entry, file, tmp_path / "out").model
    assert model.vit.image_px == 28 and model.meta["image_px"] == 12


def test_heads_are_left_out_and_named(tmp_path):
    entry = tiny_entry("phikon")
    state = random_state(entry.vit, "hf_vit")
    state["pooler.dense.weight"] = np.zeros((12, 12), np.float32)
    save_file(state, tmp_path / "w.safetensors")
    done = import_model(entry, tmp_path / "w.safetensors", tmp_path / "out")
    assert done.converted.dropped == ("pooler.dense.weight",)
    assert done.model.meta["foundation"]["dropped"] == ["pooler.dense.weight"]


def test_embedded_and_probed(imported, tiny_study, tmp_path, capsys):
    assert (
        cli.main(
            [
                "embed",
                str(imported),
                str(tiny_study.root),
                "--out",
                str(tmp_path / "e.h5"),
            ]
        )
        == 0
    ), capsys.readouterr().err
    with h5py.File(tmp_path / "e.h5") as file:
        features = file["features"][:]
    assert features.shape == (len(tiny_study.tiles), 24)
    assert np.isfinite(features).all() and features.std(axis=0).min() > 0
    task = {
        "name": "class",
        "study": "tiny",
        "target": "tile_class",
        "kind": "classification",
        "level": "tile",
        "split": "main",
        "fit": "train",
        "test": "val",
    }
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    words = ["probe", f"fm={imported}", "--tasks", str(tmp_path / "tasks.json")]
    words += ["--study", str(tiny_study.root), "--out", str(tmp_path / "results")]
    assert cli.main(words) == 0, capsys.readouterr().err
    entry = json.loads((tmp_path / "results" / "results.json").read_text())["entries"][
        0
    ]
    # Whom a public model has seen is not known by patient.
    assert entry["audit"]["status"] == "unknown" and 0 <= entry["value"] <= 1
    words = ["export", str(imported), "--format", "timm", "--out", str(tmp_path / "o")]
    assert cli.main([*words, "--results", str(tmp_path / "results")]) == 0
    card = (tmp_path / "o" / "README.md").read_text()
    assert f"| {entry['value']:.4f} |" in card and "| unknown |" in card


def test_real_tiles(imported, real_data, tmp_path, capsys):
    folder = real_data / "nct_crc_samples"
    words = ["embed", str(imported), str(folder), "--out", str(tmp_path / "e.h5")]
    assert cli.main(words) == 0, capsys.readouterr().err
    with h5py.File(tmp_path / "e.h5") as file:
        features = file["features"][:]
    assert features.shape == (9, 24) and np.isfinite(features).all()
    assert len(np.unique(features.round(4), axis=0)) == 9


def test_a_run_starts_from_it(tiny_study, tmp_path):
    entry = tiny_entry("uni", patch=8, image_px=16, width=24, mlp_dim=32, depth=1)
    entry = dataclasses.replace(entry, preprocess=(32, 16, "bicubic"))  # the study's
    import_model(entry, write_weights(tmp_path, entry), tmp_path / "base")
    keys = {"model.variant": "", "init": str(tmp_path / "base")}  # the encoder as it is
    frozen = {"optim.freeze": ("^vit/",), "optim.steps": 2}
    train(config_for(tiny_study, **keys, **frozen), tmp_path / "tuned")
    base, tuned = load_model(tmp_path / "base"), load_model(tmp_path / "tuned")
    assert tuned.meta["foundation"] == base.meta["foundation"]
    for block, leaf in (("blocks_0", "ls1"), ("blocks_0", "ls2")):
        np.testing.assert_array_equal(
            tuned.params["vit"][block][leaf]["gamma"],
            base.params["vit"][block][leaf]["gamma"],
        )


def test_nothing_is_written_over_and_nothing_broken_is_written(tmp_path):
    entry = tiny_entry("dino-vits16")
    file = write_weights(tmp_path, entry)
    import_model(entry, file, tmp_path / "out")
    with pytest.raises(ZooError, match="would be overwritten"):
        import_model(entry, file, tmp_path / "out")
    state = load_file(file)
    state["norm.weight"][3] = np.nan
    save_file(state, file)
    with pytest.raises(ZooError, match="not finite in 1 tensors, first norm/scale"):
        import_model(entry, file, tmp_path / "other")
    del state["norm.weight"]
    save_file(state, file)
    with pytest.raises(
        ZooError, match=r"does not fit dino-vits16: .* 1 missing: norm.weight"
    ):
        import_model(entry, file, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_input_size_is_the_users(tmp_path):
    entry = tiny_entry("dino-vits16")  # resized to 16, cropped to 12
    file = write_weights(tmp_path, entry)
    model = import_model(entry, file, tmp_path / "out", image_px=24).model
    assert model.meta["image_px"] == 24 and model.vit.image_px == 12
    steps = {"resize": 32, "crop": 24, "interpolation": "bicubic"}
    assert model.meta["preprocess"] == model.meta["foundation"]["preprocess"] == steps
    for wrong in (22, 0, -4):
        with pytest.raises(ZooError, match="expected a multiple of the patch of dino"):
            import_model(entry, file, tmp_path / "other", image_px=wrong)


@pytest.mark.parametrize(
    ("name", "dialect", "rule"),
    [
        ("dinov2-vits14", "timm", "timm"),
        ("dinov2-vits14", "hf_dinov2", "torch"),
        ("dinov2-vits14-reg4", "hf_dinov2_5", "timm"),
        ("dino-vits8", "hf_vit", "torch"),
        ("phikon-v2", "timm", "torch"),
    ],
)
def test_positions_are_resized_as_in_the_library_of_the_file(
    name, dialect, rule, tmp_path
):
    entry = tiny_entry(name)
    save_file(random_state(entry.vit, "", dialect), tmp_path / "w.safetensors")
    done = import_model(entry, tmp_path / "w.safetensors", tmp_path / "out")
    assert done.model.vit.positions == rule
    assert done.model.meta["foundation"]["dialect"] == dialect


def test_checksums(tmp_path, monkeypatch):
    entry = tiny_entry("uni")
    file = write_weights(tmp_path, entry)
    own = hashlib.sha256(file.read_bytes()).hexdigest()

    def checksum(number, **fields):
        changed = dataclasses.replace(entry, **fields)
        done = import_model(changed, file, tmp_path / str(number))
        origin = done.model.meta["foundation"]
        assert origin["checksum"] == done.checksum and origin["weights_sha256"] == own
        return done.checksum

    assert checksum(1) == "no published checksum is known"
    assert checksum(2, sha256=("0" * 64, own)) == "matches a published file"
    assert checksum(3, sha256=("0" * 64,)).startswith("matches none of the published")
    monkeypatch.setitem(
        importing.MODELS._items,
        "uni2-h",
        dataclasses.replace(get("uni2-h"), sha256=(own,)),
    )
    with pytest.raises(ZooError, match="checksum of the published uni2-h, not of uni"):
        checksum(4)


def test_the_output_says_what_was_read(tmp_path, capsys, monkeypatch):
    entry = tiny_entry("dinov2-vits14")
    monkeypatch.setitem(importing.MODELS._items, entry.name, entry)
    states = {
        prefix: random_state(entry.vit, "timm", seed=seed)
        for seed, prefix in enumerate(["state_dict.", "state_dict_ema."])
    }
    both = {p + name: x for p, state in states.items() for name, x in state.items()}
    both["head.weight"] = np.zeros(3, np.float32)
    save_file(both, tmp_path / "w.bin")
    words = ["import", entry.name, "--weights", str(tmp_path / "w.bin")]
    assert cli.main([*words, "--image-px", "8", "--out", str(tmp_path / "a")]) == 0
    text = capsys.readouterr().out
    assert "images of 8 px, positions 3 x 3, tensor names of timm" in text
    assert "several encoders: used 'state_dict_ema.', not 'state_dict.'" in text
    assert "positions are resized as timm does" in text
    assert "checksum: matches none of the published" in text
    assert re.search(r"left out \d+ tensors .*: .*\(\d+ more\)", text)
    words += ["--prefix", "state_dict.", "--out", str(tmp_path / "b")]
    assert cli.main(words) == 0
    kernels = [
        load_model(tmp_path / out).params["vit"]["blocks_0"]["mlp"]["fc1"]["kernel"]
        for out in ("a", "b")
    ]
    for kernel, prefix in zip(kernels, ("state_dict_ema.", "state_dict."), strict=True):
        weight = states[prefix]["blocks.0.mlp.fc1.weight"]
        np.testing.assert_array_equal(kernel, weight.T)


def test_commands(tmp_path, capsys):
    assert cli.main(["models"]) == 0
    assert "virchow2" in capsys.readouterr().out
    assert cli.main(["models", "gpfm"]) == 0
    assert "GPFM" in capsys.readouterr().out
    assert cli.main(["models", "unii"]) == 1
    assert "did you mean 'uni'" in capsys.readouterr().err
    entry = tiny_entry("uni")
    words = ["import", "uni", "--weights", str(write_weights(tmp_path, entry))]
    assert cli.main([*words, "--out", str(tmp_path / "out")]) == 1
    text = capsys.readouterr().err
    # Tiny weights are not UNI's: all 24 blocks are spoken of, in one error.
    assert "blocks.{2-23}.attn.qkv.weight" in text and "another shape" in text
    assert "a ViT of width 12, patch 4 and 2 blocks" in text and len(text) < 700
