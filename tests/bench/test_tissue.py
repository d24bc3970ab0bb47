"""The study that the loader benchmark reads."""

import numpy as np
import pytest
from PIL import Image

from pathjax.bench.loader import read_records
from pathjax.bench.options import BenchError, LoaderOptions
from pathjax.bench.tissue import build, find_images
from pathjax.data.check import check_study
from pathjax.data.images import decode_tile


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("one.png", "two.png"):
        noise = random.integers(0, 256, (48, 40, 3), np.uint8)
        Image.fromarray(noise).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_sound_study_and_the_same_bytes_for_peers(tmp_path, images):
    options = LoaderOptions(images=str(images), tiles=9, tile_px=32)
    study, made_of = build(tmp_path, options)
    assert made_of == "real tissue, 2 images" and not study.synthetic
    assert not check_study(study).problems
    records = read_records(tmp_path / "tiles.npz")
    assert sorted(records) == sorted(study.tile_bytes(range(9)))
    assert decode_tile(records[0]).shape == (32, 32, 3)
    pixels = np.asarray(Image.open(images / "one.png"))
    assert abs(decode_tile(records[0]).mean() - pixels.mean()) < 10


def test_says_when_an_image_is_too_small_or_none_is_there(tmp_path, images):
    options = LoaderOptions(images=str(images), tiles=2, tile_px=64)
    with pytest.raises(BenchError, match="48 x 40 px, wanted at least 64"):
        build(tmp_path, options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchError, match="leave it out for synthetic"):
        find_images(str(tmp_path / "empty"))


def test_synthetic_tissue_where_there_are_no_images(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHJAX_TEST_DATA", str(tmp_path))
    study, made_of = build(tmp_path, LoaderOptions(tiles=16, tile_px=32))
    assert made_of.startswith("synthetic") and study.synthetic
    assert len(study.tiles) == 16
