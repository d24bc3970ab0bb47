"""Weights given to `pathjax import`: read right, or refused plainly."""

import numpy as np
import pytest
from damage import ODD_TEXT, cut, examples, refused
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tiny_zoo import random_state, tiny_entry, write_weights

from pathjax.zoo.importing import import_model

ENTRY = tiny_entry("phikon")
STATE = random_state(ENTRY.vit, ENTRY.layout)
NAMES = ["w.safetensors", "w.bin", "w.pth", "w.pt", "w.pth.tar", "w.ckpt", "w", "w.h5",
         "w x.safetensors", "é.safetensors"]  # fmt: skip
NOT_WEIGHTS = [b"", b"<!doctype html><html>", b"PK\x03\x04", b"\x80\x02}q\x00.",
               b"version https://git-lfs.github.com/spec/v1\noid sha256:0"]  # fmt: skip


@st.composite
def states(draw):
    """A state dict, damaged; and whether every number of it is finite."""
    state = dict(STATE)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(sorted(state)))
        value = state[name]
        kind = draw(
            st.sampled_from(
                ["drop", "shape", "int", "nan", "f16", "f64", "prefix", "rename",
                 "scalar", "empty", "double"]
            )
        )  # fmt: skip
        if kind == "drop":
            del state[name]
        elif kind == "prefix":
            prefix = draw(st.sampled_from(["module.", "model.", "x.", "teacher."]))
            state = {prefix + key: v for key, v in state.items()}
        elif kind == "rename":
            state[draw(ODD_TEXT) or "x"] = state.pop(name)
        elif kind == "double":
            state[f"teacher.{name}"] = value
        elif kind == "nan" and value.dtype.kind == "f":
            bad = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
            state[name] = np.full_like(value, bad)
        elif kind != "nan":
            state[name] = {
                "shape": np.zeros((*value.shape, 2), np.float32),
                "int": np.ones(value.shape, np.int32),
                "f16": value.astype(np.float16),
                "f64": value.astype(np.float64),
                "scalar": np.float32(1),
                "empty": np.zeros(0, np.float32),
            }[kind]
    return {key: np.array(value, order="C") for key, value in state.items()}


def finite(values) -> bool:
    return all(np.isfinite(v).all() for v in values)


@examples(20)
@given(state=states())
def test_tensors(tmp_path, state):
    path = tmp_path / "w.safetensors"
    save_file(state, path)

    def use():
        done = import_model(ENTRY, path, tmp_path / "out")
        blocks = done.model.params["vit"]
        leaves = [leaf for part in blocks.values() for leaf in _leaves(part)]
        assert finite(leaves), "a number that is not finite was imported"
        used = len(state) - len(done.converted.dropped)
        assert used == len(STATE), f"{used} tensors used, {len(STATE)} expected"

    refused(use, ValueError, OSError, RuntimeError)


def _leaves(tree):
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in _leaves(part)]
    return [np.asarray(tree)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights"), ENTRY).read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_files(tmp_path, whole):
    @examples(40)
    @given(
        content=cut(whole) | st.sampled_from(NOT_WEIGHTS) | st.binary(max_size=60),
        name=st.sampled_from(NAMES),
    )
    def check(content, name):
        path = tmp_path / name
        path.write_bytes(content)

        def use():
            import_model(ENTRY, path, tmp_path / "out")
            assert len(content) == len(whole)

        refused(use, ValueError, OSError, RuntimeError)
        path.unlink()

    check()
