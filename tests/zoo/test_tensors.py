"""Files of weights by their content: read as numbers, or refused as what they are."""

import gzip
import io
import json
import pickle
import struct
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from pathjax.zoo.entry import ZooError
from pathjax.zoo.tensors import flatten, read_file, read_index

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 88249928\n"


def safetensors_bytes(dtype, shape, data):
    header = {"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize("name", ["a.safetensors", "pytorch_model.bin", "0123abcd"])
def test_safetensors_whatever_they_are_called(tmp_path, name):
    arrays = {"half": np.array([0.5, 2], np.float16), "count": np.array([3])}
    save_file(arrays, tmp_path / name)
    state = read_file(tmp_path / name)
    assert state["half"].tolist() == [0.5, 2.0] and state["count"].dtype == np.int64


def test_narrow_floats(tmp_path):
    file = tmp_path / "b.safetensors"
    numbers = np.array([0x3F80, 0xC040], np.uint16).tobytes()  # 1 and -3
    file.write_bytes(safetensors_bytes("BF16", [2], numbers))
    assert read_file(file)["a"].astype(np.float32).tolist() == [1.0, -3.0]
    file.write_bytes(safetensors_bytes("F8_E4M3", [2, 2], b"abcd"))
    array = read_file(file)["a"]  # refused when it is converted
    assert array.dtype.name == "float8_e4m3fn" and array.shape == (2, 2)


def archive(kind):
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("weights/model.safetensors", b"x" * 99)
    elif kind == "torchscript":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("m/constants.pkl", b"")
            file.writestr("m/data.pkl", b"")
    else:
        with tarfile.open(fileobj=buffer, mode="w") as file:
            file.addfile(tarfile.TarInfo("weights.pth"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty: download it again"),
        (b"<!DOCTYPE html><html>Sign in</html>", "an HTML page"),
        (b"\n <HTML lang='en'>", "an HTML page"),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "an XML or HTML text"),
        (POINTER, "a git-LFS pointer: fetch the file by `git lfs pull`"),
        (b"/annex/objects/SHA256E-s1--0.pth\n", "a git-annex pointer"),
        (b"Invalid username or password.", r"a text \('Invalid username"),
        (b"Entry not\n\x1b[31mfound\x1b[0m\n", "of an unknown kind"),
        (gzip.compress(b"x"), "a gzip archive: unpack it first"),
        (archive("zip"), r"an archive \(weights/model.safetensors, ...\): unpack it"),
        (archive("zip")[:60], "truncated or damaged: download it again"),
        (archive("tar"), "a tar archive: unpack it first"),
        (archive("torchscript"), "a TorchScript program, which is code"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as of Keras"),
        (bytes(range(1, 99)), "of an unknown kind: use safetensors"),
        (safetensors_bytes("F32", [9], bytes(36))[:-5], "a truncated or damaged safe"),
        (safetensors_bytes("F32", [9], bytes(36))[:30], "a truncated or damaged safe"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "weights.pth"])
def test_what_is_no_file_of_weights_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ZooError, match=words) as error:
        read_file(tmp_path / name)
    text = str(error.value)
    assert len(text) < 400 and "weights_only" not in text and "\x1b" not in text


def test_a_model_of_pathjax_needs_no_import(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(2)}, file, metadata={"pathjax": "{}"})
    with pytest.raises(ZooError, match="a model of pathjax already"):
        read_file(file)


def test_without_torch_or_with_an_unsafe_one(tmp_path, monkeypatch):
    file = tmp_path / "a.pth"
    file.write_bytes(pickle.dumps({"a": 1}, protocol=2))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ZooError, match="torch is not installed"):
        read_file(file)
    old = types.SimpleNamespace(__version__="2.5.1+cu121")
    monkeypatch.setitem(sys.modules, "torch", old)
    with pytest.raises(ZooError, match="CVE-2025-32434.*2.6 or later"):
        read_file(file)


def test_nested_dicts_have_joined_names():
    inner = {"blocks.0.w": 1.0, "n": 3}
    checkpoint = {
        "student": inner,
        "teacher": {"backbone": inner},
        "optimizer": {"state": {0: {"exp_avg": 5.0}}},
        "epoch": 3,
    }
    names = ["student.blocks.0.w", "teacher.backbone.blocks.0.w"]
    assert [name for name, _ in flatten(checkpoint, float)] == names
    assert not list(flatten(3, float))


def test_indices(tmp_path):
    file = tmp_path / "model.safetensors.index.json"
    file.write_text(json.dumps({"weight_map": {"a": "x-00001-of-00002.safetensors"}}))
    assert read_index(file) == {"a": "x-00001-of-00002.safetensors"}
    for content in ('{"error": "gated"}', "[1]", '{"weight_map": 3}', "{"):
        file.write_text(content)
        with pytest.raises(ZooError, match="JSON without a weight_map"):
            read_index(file)
    file.write_text(json.dumps({"weight_map": {"a": "../secret"}}))
    with pytest.raises(ZooError, match="outside its folder"):
        read_index(file)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["a.pth", "a.bin", "a.pth.tar", "a.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_with_tensors_only(tmp_path, name, zipped):
    import argparse

    import torch

    weights = {"module.a": torch.ones(2, dtype=torch.bfloat16), "step": 3}
    saved = {"teacher": weights, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(saved, tmp_path / name, _use_new_zipfile_serialization=zipped)
    state = read_file(tmp_path / name)
    assert list(state) == ["teacher.module.a"]
    assert state["teacher.module.a"].dtype == np.float32
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ZooError, match="truncated") as error:
        read_file(tmp_path / name)
    assert "weights_only" not in str(error.value)


@pytest.mark.peer
def test_pickles_with_other_dtypes_and_without_names(tmp_path):
    import torch

    low = torch.zeros(2, 2).to(torch.float8_e5m2)
    torch.save({"a": low, "b": torch.zeros(2, dtype=torch.int8)}, tmp_path / "a.pt")
    state = read_file(tmp_path / "a.pt")
    assert [x.dtype.name for x in state.values()] == ["float8_e5m2", "int8"]
    torch.save([1, 2], tmp_path / "b.bin")
    with pytest.raises(ZooError, match="no tensors by name, but a list"):
        read_file(tmp_path / "b.bin")


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
    with pytest.raises(ZooError, match=r"a\.pth is refused.*could run code") as error:
        read_file(file)
    assert not trap.exists()
    text = str(error.value)
    assert "weights_only" not in text and "\x1b" not in text and len(text) < 400
