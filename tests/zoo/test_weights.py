"""Where weights are found: files, folders, shards, the hub and addresses."""

import dataclasses
import hashlib
import io
import json
import sys
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

from pathjax.zoo import get
from pathjax.zoo.entry import ZooError
from pathjax.zoo.weights import digest, locate, read_state, resolve


def write_shards(folder, stem="model", suffix=".safetensors"):
    """Two shards and their index, as transformers writes them."""
    names = [f"{stem}-0000{i}-of-00002{suffix}" for i in (1, 2)]
    for number, name in enumerate(names):
        save_file({f"t{number}": np.full(2, number, np.float32)}, folder / name)
    index = folder / f"{stem}{suffix}.index.json"
    weight_map = {"t0": names[0], "t1": names[1]}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_shards_by_index_by_folder_and_by_one_of_them(tmp_path):
    index = write_shards(tmp_path)
    one = tmp_path / "model-00002-of-00002.safetensors"
    for given in (index, tmp_path, one):
        assert resolve(given) == index
    state = read_state(index)
    assert sorted(state) == ["t0", "t1"] and state["t1"].tolist() == [1, 1]
    before = digest(index)
    save_file({"t1": np.zeros(2, np.float32)}, one)
    assert digest(index) != before
    save_file({"other": np.zeros(2, np.float32)}, one)
    with pytest.raises(ZooError, match="names 1 tensors .* first t1: download them"):
        read_state(index)
    one.unlink()
    with pytest.raises(
        ZooError, match="names 1 shards that are not there, first model"
    ):
        read_state(index)
    index.unlink()
    with pytest.raises(
        ZooError, match="one of several shards: put model.safetensors.in"
    ):
        resolve(tmp_path / "model-00001-of-00002.safetensors")


def test_a_folder_as_the_hubs_client_leaves_it(tmp_path):
    """Links into a store of blobs, below a revision."""
    cache = tmp_path / "models--facebook--dinov2-small"
    snapshot = cache / "snapshots" / "0123abcd"
    (cache / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    blob = cache / "blobs" / ("e" * 64)
    save_file({"a": np.ones(2, np.float32)}, blob)
    link = snapshot / "model.safetensors"
    link.symlink_to(f"../../blobs/{blob.name}")
    (snapshot / "config.json").write_text("{}")
    for given in (cache, snapshot, link):
        assert resolve(given) == link
        assert read_state(resolve(given))["a"].tolist() == [1, 1]
    blob.unlink()
    for given in (cache, snapshot, link):
        with pytest.raises(ZooError, match="a link to a file that is not there"):
            resolve(given)
    (cache / "snapshots" / "4567cdef").mkdir()
    with pytest.raises(ZooError, match="has 2 revisions: pass one"):
        resolve(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("4567cdef")
    with pytest.raises(ZooError, match="expected one file of weights in .*, got 0"):
        resolve(cache)


def test_which_file_of_a_folder(tmp_path):
    for name in ("pytorch_model.bin", "tf_model.h5", "config.json"):
        (tmp_path / name).touch()
    assert resolve(tmp_path).name == "pytorch_model.bin"
    (tmp_path / "model.safetensors").touch()
    assert resolve(tmp_path).name == "model.safetensors"
    other = tmp_path / "other"
    other.mkdir()
    (other / "GPFM.pth").touch()
    assert resolve(other).name == "GPFM.pth"
    (other / "b.pth").touch()
    with pytest.raises(ZooError, match=r"got 2 \(GPFM.pth, b.pth\): pass the file"):
        resolve(other)


def test_a_local_file_leaves_only_its_name(tmp_path):
    file = tmp_path / "uni.bin"
    file.touch()
    assert locate(get("uni"), file).source == "file:uni.bin"
    with pytest.raises(ZooError, match="got no such file"):
        locate(get("uni"), tmp_path / "none.bin")


def test_hub_sources(tmp_path, monkeypatch):
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        return str(tmp_path / "x")

    hub = types.SimpleNamespace(hf_hub_download=download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert locate(get("uni")).source == get("uni").source
    locate(get("dino-vits16"))
    assert asked == [
        ("MahmoodLab/UNI", "pytorch_model.bin"),
        ("timm/vit_small_patch16_224.dino", "model.safetensors"),
    ]

    def refuse(repository, file):
        raise PermissionError("401 of user:hf_secret")

    hub.hf_hub_download = refuse
    with pytest.raises(ZooError, match="access is gated.*HF_TOKEN") as error:
        locate(get("uni"))
    assert "hf_secret" not in str(error.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ZooError, match=r"pip install 'pathjax\[hub\]'"):
        locate(get("uni"))


def test_a_download_that_is_cut_is_not_kept(tmp_path, monkeypatch):
    """`read` of the HTTP client does not say so; what was kept was read for ever."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    answer = io.BytesIO(b"wei")
    answer.headers = {"Content-Length": "7"}
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: answer)
    entry = dataclasses.replace(get("gpfm"), source="url:https://example.org/w.pth")
    with pytest.raises(ZooError, match="could not download .*: 3 of 7 bytes arrived"):
        locate(entry)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_addresses_are_downloaded_once_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    there = tmp_path / "w.pth"
    there.write_bytes(b"weights")
    address = there.as_uri()
    md5 = hashlib.md5(b"weights").hexdigest()

    def entry(check):
        return dataclasses.replace(get("gpfm"), source=f"url:{address}{check}")

    with pytest.raises(
        ZooError, match="expected md5 00, got .* the download is damaged"
    ):
        locate(entry("#md5=00"))
    found = locate(entry(f"#md5={md5}"))
    there.unlink()
    assert locate(entry("")).path == found.path
    assert found.path.read_bytes() == b"weights"
    assert [p.name for p in found.path.parent.iterdir()] == ["w.pth"]
    other = dataclasses.replace(entry(""), source=f"url:{address}2")
    with pytest.raises(ZooError, match="could not download.*--weights"):
        locate(other)
