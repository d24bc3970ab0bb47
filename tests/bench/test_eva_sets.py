"""The sets of `bench eva` and the files that both contestants read."""

import csv

import numpy as np
import pytest

from pathjax.bench.eva_sets import (
    block_means,
    find_data,
    generated,
    idc_patches,
    read_about,
    write_set,
)
from pathjax.bench.eva_sweep import read_folds
from pathjax.bench.options import BenchError


def test_ours_reads_what_was_written(tmp_path):
    one = generated(20, 7, 3)
    write_set(tmp_path / "set", one)
    x, y, val_x, val_y = read_folds(tmp_path / "set")
    np.testing.assert_array_equal(np.concatenate([x, val_x]), one.features)
    np.testing.assert_array_equal(np.concatenate([y, val_y]), one.target)
    assert (len(x), len(val_x)) == (20, 7)
    about = read_about(tmp_path / "set")
    assert (about["classes"], about["width"], about["train_rows"]) == (2, 3, 20)


def test_manifest_is_as_eva_writes_it(tmp_path):
    one = generated(4, 2, 3)
    write_set(tmp_path / "set", one)
    with (tmp_path / "set" / "manifest.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["origin", "embeddings", "target", "split"]
    assert rows[0] == ["row_0.png", "row_0.pt", str(one.target[0]), "train"]
    assert [row[3] for row in rows] == ["train"] * 4 + ["val"] * 2
    np.testing.assert_array_equal(np.load(tmp_path / "set/features.npy"), one.features)


def test_block_means_are_centred_by_the_train_rows():
    tiles = np.random.default_rng(0).integers(0, 256, (6, 23, 23, 3), np.uint8)
    train = np.arange(6) < 4
    x = block_means(tiles, train, 10)
    assert x.shape == (6, 300) and x.dtype == np.float32
    np.testing.assert_allclose(x[train].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x[train].std(axis=0).mean(), 1, rtol=1e-6)
    raw = tiles[:, 2:4, 4:6].astype(float).mean(axis=(1, 2))  # block 1, 2
    scale = (raw[5] - raw[4]) / (x[5] - x[4])[3 * 12 : 3 * 13]
    np.testing.assert_allclose(scale, scale[0], rtol=1e-4)


def test_idc_is_halved_at_random(real_data):
    one = idc_patches(real_data)
    assert one.classes == 2 and one.features.shape == (len(one), 300)
    assert one.train.sum() == len(one) // 2
    assert len(set(one.tile_id)) == len(one) > 400
    shares = [one.target[part].mean() for part in (one.train, ~one.train)]
    assert abs(shares[0] - shares[1]) < 0.1


def test_no_data_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("PATHJAX_TEST_DATA", raising=False)
    for named in ("", str(tmp_path / "none")):
        with pytest.raises(BenchError, match="parts=generated,time"):
            find_data(named)
    with pytest.raises(BenchError, match="idc_patches"):
        idc_patches(tmp_path)
