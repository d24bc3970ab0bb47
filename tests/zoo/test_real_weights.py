"""Published weights of DINOv2 ViT-S/14 in every form that they can be written in."""

import json

import h5py
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file
from tiny_zoo import speaking

from pathjax import cli
from pathjax.models.model_file import load_model
from pathjax.zoo import get
from pathjax.zoo.convert import from_state, to_state

NAME = "dinov2-vits14"
PREFIXES = ("", "module.", "model.", "dinov2.", "vit.", "teacher.backbone.")


@pytest.fixture(scope="module")
def published(real_data):
    """The tensors as Hugging Face names them."""
    file = real_data / "weights" / "dinov2-small.safetensors"
    if not file.is_file():
        pytest.skip(f"no published weights at {file}")
    return file


@pytest.fixture(scope="module")
def tiles(real_data, tmp_path_factory):
    """A folder with two of the real tiles."""
    folder = tmp_path_factory.mktemp("tiles")
    for file in sorted((real_data / "nct_crc_samples").rglob("*.tif"))[:2]:
        (folder / file.name).write_bytes(file.read_bytes())
    assert len(list(folder.iterdir())) == 2
    return folder


def imported(weights, out, capsys, *options):
    words = ["import", NAME, "--weights", str(weights), "--out", str(out), *options]
    assert cli.main(words) == 0, capsys.readouterr().err
    return load_model(out)


def embedded(model, tiles, out, capsys):
    words = ["embed", str(model), str(tiles), "--out", str(out)]
    assert cli.main(words) == 0, capsys.readouterr().err
    with h5py.File(out) as file:
        return file["features"][:]


@pytest.fixture(scope="module")
def reference(published):
    return from_state(load_file(published), get(NAME).vit).params


def forms(published, folder):
    """The file in all dialects, wrappers, kinds of file and folders, by name."""
    original = load_file(published)
    vit = get(NAME).vit
    params = from_state(original, vit).params
    yield published
    for place, dialect in enumerate(speaking(vit)):
        state = to_state(params, vit, dialect)
        # Any prefix before any dialect: test_matching.py.
        for prefix in ("", PREFIXES[1 + place % (len(PREFIXES) - 1)]):
            file = folder / f"{dialect}-{prefix}safetensors.bin"
            save_file({prefix + name: x for name, x in state.items()}, file)
            yield file
            file.unlink()
    hub = folder / "models--facebook--dinov2-small"
    (hub / "blobs").mkdir(parents=True)
    snapshot = hub / "snapshots" / "ed25f3a3"
    snapshot.mkdir(parents=True)
    names, weight_map = sorted(original), {}
    for number in range(3):
        shard = f"model-{number + 1:05}-of-00003.safetensors"
        part = names[number::3]
        save_file({name: original[name] for name in part}, hub / "blobs" / f"b{number}")
        (snapshot / shard).symlink_to(f"../../blobs/b{number}")
        weight_map |= dict.fromkeys(part, shard)
    index = snapshot / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    yield from (hub, snapshot, index, snapshot / "model-00002-of-00003.safetensors")


@pytest.mark.slow
def test_all_forms_of_the_file_are_one_model(
    published, reference, tiles, tmp_path, capsys
):
    """By the command line; at the published size nothing depends on the library."""
    flat, features = flatten_dict(reference, sep="/"), {}
    for number, form in enumerate(forms(published, tmp_path)):
        out = tmp_path / f"out{number}"
        model = imported(form, out, capsys)
        got = flatten_dict(model.params["vit"], sep="/")
        assert got.keys() == flat.keys()
        assert all(np.array_equal(got[name], flat[name]) for name in flat), form
        if model.vit not in features:  # the same model and config: the same program
            features[model.vit] = embedded(
                out, tiles, tmp_path / f"{number}.h5", capsys
            )
        (out / "model.safetensors").unlink()
    assert number > 15 and len(features) == 2  # rules to resize positions
    first, second = features.values()
    np.testing.assert_array_equal(first, second)


def test_the_published_file_and_its_halves(published, reference, tmp_path, capsys):
    model = imported(published, tmp_path / "a", capsys, "--image-px", "224")
    assert model.meta["image_px"] == 224 and model.vit.grid == 37
    assert model.meta["preprocess"]["resize"] == 224
    assert model.vit.positions == "torch"
    text = capsys.readouterr().out
    assert "left out 1 tensors" in text and "embeddings.mask_token" in text
    half = {n: x.astype(np.float16) for n, x in load_file(published).items()}
    save_file(half, tmp_path / "half.safetensors")
    rounded = imported(tmp_path / "half.safetensors", tmp_path / "b", capsys)
    kernel = rounded.params["vit"]["blocks_3"]["mlp"]["fc1"]["kernel"]
    exact = reference["blocks_3"]["mlp"]["fc1"]["kernel"]
    np.testing.assert_array_equal(kernel, exact.astype(np.float16).astype(np.float32))


def test_another_model_is_refused_with_the_right_one(published, tmp_path, capsys):
    for name in ("dinov2-vitb14", "uni", "dino-vits16", "dinov2-vits14-reg4"):
        words = ["import", name, "--weights", str(published)]
        assert cli.main([*words, "--out", str(tmp_path / "out")]) == 1
        text = capsys.readouterr().err
        assert f"does not fit {name}" in text and len(text) < 700
        assert "It fits dinov2-vits14: import it as what it is" in text
