"""The loader's contestants do what is timed, on a small study."""

import dataclasses
import os

import numpy as np
import pytest
from PIL import Image

from pathjax.bench import loader as bench
from pathjax.bench.loader import Decoder, Limit, OurLoader, read_records
from pathjax.bench.loader_data import build, find_images
from pathjax.bench.options import BenchError
from pathjax.data.check import check_study
from pathjax.data.images import decode_tile

OPTIONS = bench.Options(tiles=24, tile_px=32, image_px=24, batch=8, threads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(folder / "noise.png")
    build(folder, dataclasses.replace(OPTIONS, images=str(folder)))
    return folder


def made(kind, name, folder):
    (entry,) = (one for one in bench.entries(OPTIONS, folder) if one.name == name)
    return kind(dict(entry.options))


def test_ours_counts_images(folder):
    loader = made(OurLoader, "pathjax", folder)
    loader.prepare()
    assert loader.run(3) == 24
    assert loader.matrix() == {}
    assert "2 reading threads" in loader.info["note"]


@pytest.mark.parametrize("name", ["limit-threads", "limit-processes"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.*:RuntimeWarning")
def test_the_limit_counts_images(folder, name):
    limit = made(Limit, name, folder)
    assert limit.run(3) == 24
    assert limit.info["children"] == (name == "limit-processes")


def test_the_limit_decodes_and_augments(folder):
    records = read_records(folder / "tiles.npz")
    assert len(records) == 24
    job = Decoder(records, 24, 4, seed=0)
    job._image[...] = 0
    job(1)
    first = job._image.copy()
    # Random pixels have a mean of about 127 wherever they are cut.
    assert np.allclose(first.mean(axis=(1, 2, 3)), 127.5, atol=10)
    job(1)
    assert not np.array_equal(first, job._image)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["tf.data", "tf.data-fused"])
def test_peer_counts_images(folder, name):
    pytest.importorskip("tensorflow")
    from pathjax.bench.loader_peer import TFData

    peer = made(TFData, name, folder)
    peer.prepare()
    first = peer._iterator
    assert peer.run(3) == 24
    assert peer._iterator is None  # nothing reads ahead in the turns of others
    peer.prepare()
    assert peer._iterator is not None and peer._iterator is not first
    assert os.path.exists(folder / f"tiles-{os.getpid()}.tfrecord")


def test_a_valid_study_and_the_same_bytes_for_peers(tmp_path, folder):
    options = bench.Options(images=str(folder), tiles=9, tile_px=32)
    study, source = build(tmp_path, options)
    assert source == "real tissue, 1 images" and not study.synthetic
    assert not check_study(study).problems
    records = read_records(tmp_path / "tiles.npz")
    assert sorted(records) == sorted(study.tile_bytes(range(9)))
    assert decode_tile(records[0]).shape == (32, 32, 3)
    pixels = np.asarray(Image.open(folder / "noise.png"))
    assert abs(decode_tile(records[0]).mean() - pixels.mean()) < 10


def test_images_that_are_too_small_or_missing(tmp_path, folder):
    options = bench.Options(images=str(folder), tiles=2, tile_px=65)
    with pytest.raises(BenchError, match="at least 65 px, got 64 x 64"):
        build(tmp_path, options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="out for synthetic tissue"):
        find_images(str(tmp_path / "empty"))


def test_synthetic_tissue_where_there_are_no_images(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHJAX_TEST_DATA", str(tmp_path))
    study, source = build(tmp_path, bench.Options(tiles=16, tile_px=32))
    assert source.startswith("synthetic") and study.synthetic
    assert len(study.tiles) == 16
