"""Damaged files of weights by the hundred: one sentence, or the right model."""

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file
from tiny_zoo import random_state, tiny_entry

from pathjax.zoo.convert import from_state
from pathjax.zoo.entry import ZooError
from pathjax.zoo.importing import import_model
from pathjax.zoo.tensors import read_file

ENTRY = tiny_entry("dinov2-vits14")
STATE = random_state(ENTRY.vit, "hf_dinov2")
CONTENT = save(STATE)
PARAMS = flatten_dict(from_state(STATE, ENTRY.vit).params, sep="/")
SETTINGS = settings(
    max_examples=70,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check_message(error):
    text = str(error)
    assert 10 < len(text) < 1000 and "\n" not in text and "\x1b" not in text


@SETTINGS
@given(
    cut=st.integers(0, len(CONTENT)),
    flips=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=3),
)
def test_bytes(tmp_path, cut, flips):
    """Cut short or with other bytes in the header: refused, or whole tensors."""
    content = bytearray(CONTENT[:cut])
    for place, byte in flips:
        if place < len(content):
            content[place] = byte
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    try:
        state = read_file(file)
    except ZooError as error:
        check_message(error)
    else:
        assert cut == len(CONTENT)  # nothing that is cut short is read
        assert all(isinstance(array, np.ndarray) for array in state.values())


@st.composite
def changes(draw):
    """Some tensors removed, renamed, reshaped, added, or of another dtype."""
    names = draw(st.lists(st.sampled_from(sorted(STATE)), min_size=1, max_size=4))
    kinds = ("remove", "rename", "reshape", "add", "integer", "nan")
    return [(name, draw(st.sampled_from(kinds))) for name in dict.fromkeys(names)]


@SETTINGS
@given(changes())
def test_tensors(tmp_path_factory, changed):
    """Every one is noticed: no change leaves a model behind."""
    state = {name: array.copy() for name, array in STATE.items()}
    for name, kind in changed:
        array = state.pop(name)
        if kind == "rename":
            state[f"{name}_2"] = array
        elif kind == "reshape":
            state[name] = array[..., None]
        elif kind == "add":
            state |= {name: array, f"{name}.scale": array}
        elif kind == "integer":
            state[name] = array.astype(np.int8)
        elif kind == "nan":
            state[name] = np.full_like(array, np.nan)
    folder = tmp_path_factory.mktemp("changed")
    save_file(state, folder / "w.bin")
    with pytest.raises(ZooError) as error:
        import_model(ENTRY, folder / "w.bin", folder / "out")
    check_message(error.value)
    assert not (folder / "out").exists()


@SETTINGS
@given(
    prefix=st.from_regex(r"([a-z_]{1,8}\.){0,4}", fullmatch=True),
    extra=st.lists(st.sampled_from(["head.weight", "criterion.a", "pooler.bias"])),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)
def test_wrappers(prefix, extra, dtype):
    """Any prefix, with heads beside the encoder, in any precision."""
    state = {prefix + name: array.astype(dtype) for name, array in STATE.items()}
    state |= {prefix + name: np.zeros(2, np.float32) for name in extra}
    read = from_state(state, ENTRY.vit)
    assert set(read.dropped) == {prefix + name for name in extra}
    for path, leaf in flatten_dict(read.params, sep="/").items():
        expected = PARAMS[path].astype(dtype).astype(np.float32)
        np.testing.assert_array_equal(leaf, expected)
