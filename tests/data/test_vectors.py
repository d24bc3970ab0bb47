"""Vectors of samples: the three kinds of files, and what is refused by name."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from pathjax.data.expression import fit_panel
from pathjax.data.samples import gather
from pathjax.data.study import StudyError
from pathjax.data.vectors import Vectors, read_vectors

IDS = ["s1", "s2", "s3"]
VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


def write(path, ids=IDS, values=VALUES):
    if path.suffix == ".npz":
        np.savez(path, sample_id=np.array(ids), X_scgpt=values)
    elif path.suffix == ".parquet":
        pd.DataFrame(values, columns=["a", "b"]).assign(sample_id=ids).to_parquet(path)
    else:
        table = anndata.AnnData(np.zeros((len(ids), 1)), pd.DataFrame(index=ids))
        table.obsm["X_scgpt"] = values
        table.write_h5ad(path)
    return path


@pytest.mark.parametrize("name", ["v.h5ad", "v.npz", "v.parquet"])
def test_a_file_gives_vectors_by_id(tmp_path, name):
    table = read_vectors(write(tmp_path / name))
    assert table.sample_ids == IDS and table.values.dtype == np.float32
    rows, has = table.align(["s3", "other", "s1"])
    np.testing.assert_array_equal(rows, [[4, 5], [0, 0], [0, 1]])
    np.testing.assert_array_equal(has, [True, False, True])


def test_ids_may_be_bytes(tmp_path):
    """As NumPy has texts without Unicode; `str` of one is "b's1'"."""
    table = read_vectors(write(tmp_path / "b.npz", ids=[b"s1", b"s2", b"s3"]))
    assert table.sample_ids == IDS


def test_obsm_may_be_sparse_or_a_table(tmp_path):
    frame = pd.DataFrame(VALUES, index=IDS, columns=["a", "b"])
    for number, values in enumerate((scipy.sparse.csr_matrix(VALUES), frame)):
        path = write(tmp_path / f"{number}.h5ad", values=values)
        found = read_vectors(path, "X_scgpt")
        np.testing.assert_array_equal(found.values, VALUES)


def test_what_is_no_file_of_vectors(tmp_path):
    def refused(path, message, key=""):
        with pytest.raises(StudyError, match=message):
            read_vectors(path, key)

    refused(tmp_path / "v.csv", "expected a file .h5ad, .npz or .parquet")
    refused(tmp_path / "absent.npz", "cannot be read as vectors")
    for name in ("v.npz", "v.h5ad", "v.parquet"):
        path = write(tmp_path / name)
        if name != "v.parquet":
            refused(path, "did you mean 'X_scgpt'", "X_scpt")
        path.write_bytes(path.read_bytes()[:200])
        refused(path, "cannot be read as vectors")
    refused(write(tmp_path / "n.npz", values=VALUES * np.nan), "3 rows are not finite")
    refused(write(tmp_path / "t.npz", ids=["a", "b", "a"]), r"occur twice, first \['a'")
    refused(write(tmp_path / "l.npz", ids=["a", "b"]), "expected .n, X. for 2 samples")


def test_samples_without_a_vector_are_refused_or_left_out_and_counted(
    tiny_study, caplog
):
    expression = tiny_study.expression()
    ids = list(expression.obs_names)
    panel = fit_panel(expression, ids[:8], 5)
    values = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    table = Vectors(ids[1:8], values)
    with pytest.raises(StudyError, match=r"1 of 8 samples of fold train .* \['P00'\]"):
        gather(tiny_study, "main", "train", panel=panel, vectors=table)
    found = gather(
        tiny_study, "main", "train", panel=panel, vectors=table, drop_unpaired=True
    )
    assert "1 of 8 samples of fold train have no vector" in caplog.text
    names = tiny_study.samples["sample_id"].to_numpy()[found.row]
    assert set(names) == set(ids[1:8])
    np.testing.assert_array_equal(found.vectors, table.align(names)[0])
    # In the control of shuffled pairs, vectors go where the expression goes.
    control = found.shuffled(0)
    source = [np.flatnonzero((found.expression == row).all(axis=1))[0]
              for row in control.expression]  # fmt: skip
    assert not np.array_equal(source, np.arange(7))
    np.testing.assert_array_equal(control.vectors, found.vectors[source])
    with pytest.raises(StudyError, match="2 of 2 samples of fold val"):
        options = {"panel": panel, "vectors": table, "drop_unpaired": True}
        gather(tiny_study, "main", "val", **options)
