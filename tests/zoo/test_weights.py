"""Files of weights: read as numbers, refused as anything else, and found or not."""

import dataclasses
import hashlib
import json
import pickle
import struct
import sys
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

from pathjax.zoo import get
from pathjax.zoo.weights import WeightsError, locate, read_state, unwrap


def test_safetensors_are_widened_and_integers_left(tmp_path):
    save_file(
        {
            "half": np.array([0.5, 2], np.float16),
            "whole": np.array([[0.1]], np.float32),
            "count": np.array([3], np.int64),
        },
        tmp_path / "a.safetensors",
    )
    state = read_state(tmp_path / "a.safetensors")
    assert state["half"].dtype == state["whole"].dtype == np.float32
    assert state["half"].tolist() == [0.5, 2.0] and state["count"].dtype == np.int64


def test_bfloat16(tmp_path):
    header = {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    numbers = np.array([0x3F80, 0xC040], np.uint16).tobytes()  # 1 and -3
    file = tmp_path / "b.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
    array = read_state(file)["a"]
    assert array.dtype == np.float32 and array.tolist() == [1.0, -3.0]


def test_a_file_cut_short(tmp_path):
    file = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(9, np.float32)}, file)
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        read_state(file)


def test_another_kind_of_file(tmp_path):
    with pytest.raises(WeightsError, match="neither .safetensors nor .pth"):
        read_state(tmp_path / "weights.h5")


def test_without_torch_a_pickle_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightsError, match="torch is not installed"):
        read_state(tmp_path / "a.pth")


def test_a_torch_that_is_not_safe_is_not_used(tmp_path, monkeypatch):
    old = types.SimpleNamespace(__version__="2.5.1+cu121")
    monkeypatch.setitem(sys.modules, "torch", old)
    with pytest.raises(WeightsError, match="CVE-2025-32434.*2.6 or later"):
        read_state(tmp_path / "a.pth")


@pytest.mark.peer
def test_pickles_with_tensors_only(tmp_path):
    import torch

    weights = {"module.a": torch.ones(2, dtype=torch.bfloat16)}
    torch.save({"teacher": weights, "epoch": 3}, tmp_path / "a.pth")
    state = read_state(tmp_path / "a.pth")
    assert list(state) == ["module.a"] and state["module.a"].dtype == np.float32
    torch.save([1, 2], tmp_path / "b.bin")
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        read_state(tmp_path / "b.bin")


@pytest.mark.peer
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, zipped):
    import torch

    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self):
            return (open, (str(trap), "w"))

    file = tmp_path / "a.pth"
    if zipped:
        torch.save({"model": {"a": torch.ones(1)}, "args": Trap()}, file)
    else:
        file.write_bytes(pickle.dumps(Trap(), protocol=2))
    with pytest.raises(WeightsError, match=r"a\.pth is refused.*could run code"):
        read_state(file)
    assert not trap.exists()


def test_unwrap_takes_the_teacher():
    checkpoint = {"student": {"a": 1.0}, "teacher": {"b": 2.0}, "epoch": 3}
    assert unwrap(checkpoint, float) == {"b": 2.0}
    assert unwrap({"model": {"state_dict": {"a": 1.0}}}, float) == {"a": 1.0}
    assert unwrap({"a": 1.0, "n": 3}, float) == {"a": 1.0}
    assert unwrap(3, float) == {}


def test_a_local_file_leaves_only_its_name(tmp_path):
    file = tmp_path / "uni.bin"
    file.touch()
    assert locate(get("uni"), file).source == "file:uni.bin"
    with pytest.raises(WeightsError, match="wanted the weights of uni"):
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
    with pytest.raises(WeightsError, match="access is gated.*HF_TOKEN") as error:
        locate(get("uni"))
    assert "hf_secret" not in str(error.value)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"pip install 'pathjax\[hub\]'"):
        locate(get("uni"))


def test_addresses_are_downloaded_once_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    there = tmp_path / "w.pth"
    there.write_bytes(b"weights")
    address = there.as_uri()
    md5 = hashlib.md5(b"weights").hexdigest()

    def entry(check):
        return dataclasses.replace(get("gpfm"), source=f"url:{address}{check}")

    with pytest.raises(WeightsError, match="wanted 00: the download is damaged"):
        locate(entry("#md5=00"))
    found = locate(entry(f"#md5={md5}"))
    there.unlink()
    assert locate(entry("")).path == found.path
    assert found.path.read_bytes() == b"weights"
    assert [p.name for p in found.path.parent.iterdir()] == ["w.pth"]
    other = dataclasses.replace(entry(""), source=f"url:{address}2")
    with pytest.raises(WeightsError, match="could not download.*--weights"):
        locate(other)
