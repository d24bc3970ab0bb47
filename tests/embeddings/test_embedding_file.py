"""The embedding file: its layout, and that it is whole or not there."""

import json

import h5py
import numpy as np
import pytest

from pathjax.data.study import Study
from pathjax.data.tile_source import StudyTiles
from pathjax.embeddings import embedding_file
from pathjax.embeddings.embedding_file import (
    EmbeddingError,
    read_embeddings,
    read_header,
    write_embeddings,
    write_file,
)


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(72, 5)).astype(np.float32)


def test_the_layout_is_that_of_trident_and_clam(tiny_study, features, tmp_path):
    write_embeddings(tmp_path / "e.h5", tiny_study, features, {"model": "x"})
    with h5py.File(tmp_path / "e.h5") as file:
        assert set(file) == {"features", "coords", "tile_id"}
        np.testing.assert_array_equal(file["features"][:], features)
        assert file["features"].dtype == np.float32
        assert file["coords"].dtype == np.int64
        wanted = tiny_study.tiles[["x", "y"]].to_numpy()
        np.testing.assert_array_equal(file["coords"][:], wanted)
        assert file["coords"].attrs["patch_size"] == 32
        assert file["coords"].attrs["name"] == "tiny"
        assert file["coords"].attrs["target_magnification"] == 10
        assert "patch_size_level0" not in file["coords"].attrs  # nobody knows it
        ids = file["tile_id"].asstr()[:]
        assert ids.tolist() == tiny_study.tiles["tile_id"].tolist()


def test_it_comes_back(tiny_study, features, tmp_path):
    write_embeddings(tmp_path / "e.h5", tiny_study, features, {"model": "x"})
    back = read_embeddings(tmp_path / "e.h5", tiny_study)
    np.testing.assert_array_equal(back.features, features)
    assert back.meta["study"] == "tiny" and back.meta["model"] == "x"
    assert read_header(tmp_path / "e.h5") == (back.meta, (72, 5))


def test_a_long_record_fits(tiny_study, features, tmp_path):
    """HDF5 keeps 64 KiB in an attribute; thousands of patients' names are more."""
    patients = [f"TCGA-{i:06d}" for i in range(20_000)]
    meta = {"model": "x", "audit": patients}
    write_embeddings(tmp_path / "e.h5", tiny_study, features, meta)
    assert read_header(tmp_path / "e.h5")[0]["audit"] == patients


def test_blocks_and_rows_have_to_agree(tiny_study, features, tmp_path, monkeypatch):
    source, path = StudyTiles(tiny_study), tmp_path / "e.h5"
    how = {"width": 5, "attributes": {}}
    with pytest.raises(EmbeddingError, match="expected 72 rows, got 40"):
        write_file(path, [features[:40]], source, np.array([], int), {}, **how)
    assert not any(tmp_path.iterdir())
    broken = np.setdiff1d(np.arange(72), [0, 3, 71])
    blocks = [features[:2], features[2:3]]
    for at_once in (72, 5):
        monkeypatch.setattr(embedding_file, "NAMED_AT_ONCE", at_once)
        write_file(path, blocks, source, broken, {}, **how)
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["features"][:], features[:3])
            ids = file["tile_id"].asstr()[:].tolist()
            assert ids == ["P00a0", "P00b0", "P11b2"]
            places = tiny_study.tiles.iloc[[0, 3, 71]][["x", "y"]]
            np.testing.assert_array_equal(file["coords"][:], places)


def test_embeddings_of_another_study_are_refused(
    tiny_study, broken_copy, features, tmp_path
):
    path = tmp_path / "e.h5"
    write_embeddings(path, tiny_study, features, {"model": "x"})
    meta = json.loads((broken_copy.root / "study.json").read_text())
    meta["files"]["tiles.parquet"]["sha256"] = "0" * 64
    (broken_copy.root / "study.json").write_text(json.dumps(meta))
    with pytest.raises(EmbeddingError, match="run `pathjax embed` again"):
        read_embeddings(path, Study(broken_copy.root))


@pytest.mark.parametrize("kind", ["no h5", "another h5", "absent"])
def test_other_files_are_refused(tiny_study, tmp_path, kind):
    path = tmp_path / "e.h5"
    if kind == "no h5":
        path.write_bytes(b"no h5")
    elif kind == "another h5":
        with h5py.File(path, "w") as file:
            file["features"] = np.zeros((72, 5), np.float32)
    with pytest.raises(EmbeddingError, match="no embedding file"):
        read_embeddings(path, tiny_study)
