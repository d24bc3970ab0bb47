"""Rows of embeddings out of memory and out of a file."""

import h5py
import jax
import numpy as np
import pytest

from pathjax.embeddings import embedding_file as module
from pathjax.embeddings.embedding_file import FileRows, aligned, not_finite, take


@pytest.fixture
def stored(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 7)).astype(np.float32)
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["features"] = values
    return values, FileRows(tmp_path / "f.h5")


@pytest.mark.parametrize(
    "rows",
    [[3], [], [499, 0, 17, 17], list(range(100, 300)), list(range(0, 500, 3))],
    ids=["one", "none", "any order, twice", "a stretch", "each third"],
)
def test_a_files_rows_are_the_arrays(stored, rows, monkeypatch):
    values, file = stored
    rows = np.array(rows, np.int64)
    assert file.shape == values.shape and len(file) == 500
    np.testing.assert_array_equal(file[rows], values[rows])
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 64)
    monkeypatch.setattr(module, "STRETCH", 50)
    for source in stored:
        np.testing.assert_array_equal(take(source, rows), values[rows])


def test_jax_uses_an_aligned_array_in_place():
    array = aligned((33, 5))
    array[:] = 1
    assert array.ctypes.data % 64 == 0
    on_device = jax.device_put(array)
    assert on_device.unsafe_buffer_pointer() == array.ctypes.data


def test_rows_that_are_not_finite(monkeypatch):
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    values = np.zeros((10, 3), np.float32)
    values[5, 1], values[9] = np.nan, np.inf
    assert not_finite(values).tolist() == [5, 9]
    assert not_finite(values[:0]).tolist() == []
