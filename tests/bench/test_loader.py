"""The loader's contestants do what is timed, on a small study."""

import os

import numpy as np
import pytest

from pathjax.bench import loader
from pathjax.bench.loader import Limit, Loader, read_tiles
from pathjax.data.study import Study

OPTIONS = loader.Options(tiles=20, tile_px=32, image_px=24, batch=8, threads=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    assert loader.prepare(OPTIONS, folder)["tiles"]["synthetic"]
    return folder


def options(name, folder):
    (entry,) = (e for e in loader.entries(OPTIONS, folder) if e.name == name)
    return dict(entry.options)


def test_every_contestant_gets_the_same_bytes(folder):
    study = Study(options("pathjax", folder)["study"])
    assert read_tiles(folder) == list(study.tile_bytes(range(20)))


def test_a_named_study_is_read(tmp_path, tiny_study):
    named = loader.Options(study=str(tiny_study.root), tiles=3)
    loader.prepare(named, tmp_path)
    assert read_tiles(tmp_path) == list(tiny_study.tile_bytes(range(3)))
    assert loader.entries(named, tmp_path)[0].options["study"] == named.study


@pytest.mark.parametrize(("name", "kind"), [("pathjax", Loader), ("limit", Limit)])
def test_ours_counts_images(folder, name, kind):
    contestant = kind(options(name, folder))
    contestant.prepare()
    assert contestant.run(3) == 24
    assert contestant.matrix() == {} and "2 " in contestant.info["note"]


def test_the_limit_decodes_and_augments(folder):
    limit = Limit(options("limit", folder))
    first, second = limit.decode(0, 1), limit.decode(0, 2)
    assert first.shape == (8, 24, 24, 3) and first.std() > 5
    assert not np.array_equal(first, second)
    assert np.array_equal(first, limit.decode(0, 1))


@pytest.mark.peer
@pytest.mark.parametrize("name", ["tf.data", "tf.data-fused"])
def test_peer_counts_images(folder, name):
    pytest.importorskip("tensorflow")
    from pathjax.bench.tfdata_peer import TFData

    peer = TFData(options(name, folder))
    peer.prepare()
    first = peer._iterator
    assert peer.run(3) == 24
    assert peer._iterator is None  # nothing reads ahead in the turns of others
    peer.prepare()
    assert peer._iterator is not None and peer._iterator is not first
    assert os.path.exists(folder / f"tiles-{os.getpid()}.tfrecord")
