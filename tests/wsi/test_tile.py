"""One slide to one shard: places and pixels against OpenSlide, refusals, repetition."""

import contextlib
import math
import os
import re

import h5py
import numpy as np
import pandas as pd
import pytest
from extras import extra
from made_slides import glass, slide, write_tiff
from PIL import Image

from pathjax.data.images import encode_jpeg
from pathjax.data.records import Records
from pathjax.wsi import tile
from pathjax.wsi.base import SlideError
from pathjax.wsi.manifest import SlideRow
from pathjax.wsi.options import TileOptions
from pathjax.wsi.tile import forget_skipped, tile_slide
from pathjax.wsi.tissue import find_tissue

openslide = extra("openslide")

SMALL = TileOptions(tile_px=64, mpp=0.5)


def row(path, mpp=None):
    return SlideRow("A", "P", "S", "x", str(path), mpp, "manifest" if mpp else "")


def shard(root):
    """Rows and encoded tiles of slide A."""
    rows = pd.read_parquet(root / ".build" / "A.parquet")
    path = root / "tiles" / "A.array_record"
    return rows, Records([path], [len(rows)]).read(range(len(rows)))


def files(root):
    """Every file's bytes by name."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("mpp", "overlap", "min_tissue"), [(0.5, 0, 0.35), (1.0, 56, 0.8), (0.7, 0, 0.0)]
)
def test_places_on_a_real_slide_equal_a_loop_over_its_mask(
    real_data, tmp_path, mpp, overlap, min_tissue
):
    path = real_data / "wsi" / "CMU-1-Small-Region.svs"
    options = TileOptions(mpp=mpp, overlap=overlap, min_tissue=min_tissue)
    report = tile_slide(row(path), tmp_path, options)
    whole = openslide.OpenSlide(path).read_region((0, 0), 0, (2220, 2967))
    small = whole.convert("RGB").reduce(16)  # 7.98 um/px
    mask = find_tissue(np.asarray(small), 16 * 0.499)
    mask = np.kron(mask, np.ones((16, 16), bool))
    side = math.floor(224 * mpp / 0.499 + 0.5)
    stride = (224 - overlap) * mpp / 0.499
    expected = []
    for j in range(40):
        for i in range(40):
            x, y = math.floor(i * stride + 0.5), math.floor(j * stride + 0.5)
            within = x + side <= 2220 and y + side <= 2967
            if within and mask[y : y + side, x : x + side].mean() >= min_tissue:
                expected.append((x, y))
    rows, _ = shard(tmp_path)
    assert list(zip(rows["x"], rows["y"], strict=True)) == expected
    assert report.tiles == len(expected) > 10
    assert report.tissue == pytest.approx(mask.mean(), abs=0.01)
    assert (report.width, report.height, report.mpp) == (2220, 2967, 0.499)
    assert report.mpp_source == "openslide.mpp"
    np.testing.assert_allclose(rows["mpp"], 0.499 * side / 224)


@pytest.mark.parametrize(("mpp", "level"), [(0.5, 0), (0.6, 0), (1.0, 1), (1.7, 1)])
def test_pixels_are_openslides_after_the_same_resize(real_data, tmp_path, mpp, level):
    """A JPEG 2000 slide that does not say its mpp, whose level 1 is 2.0005 smaller."""
    path = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
    own = openslide.OpenSlide(path)
    options = TileOptions(mpp=mpp, tile_px=192, quality=85, max_tiles=20)
    report = tile_slide(row(path, 0.5), tmp_path, options)
    assert report.tiles == 20 and report.mpp_source == "manifest"
    rows, tiles = shard(tmp_path)
    side = round(192 * mpp / (0.5 * own.level_downsamples[level]))
    for x, y, data in zip(rows["x"], rows["y"], tiles, strict=True):
        region = own.read_region((x, y), level, (side, side)).convert("RGB")
        if side != 192:
            region = region.resize((192, 192), Image.Resampling.BICUBIC)
        assert data == encode_jpeg(np.asarray(region), 85)


def test_a_rectangle_of_tissue_gives_its_tiles(tmp_path):
    path = write_tiff(tmp_path / "a.tif", slide(960, 1280), 0.5)
    root = tmp_path / "study"
    report = tile_slide(row(path), root, SMALL)
    rows, _ = shard(root)
    kept = set(zip(rows["x"], rows["y"], strict=True))
    top, left, bottom, right = 160, 213, 800, 1067  # of the rectangle
    for y in range(0, 960 - 63, 64):
        for x in range(0, 1280 - 63, 64):
            inside = max(0, min(x + 64, right) - max(x, left)) * max(
                0, min(y + 64, bottom) - max(y, top)
            )
            if inside > 0.6 * 64**2:
                assert (x, y) in kept
            if inside < 0.1 * 64**2:
                assert (x, y) not in kept
    assert report.tissue == pytest.approx(640 * 854 / (960 * 1280), rel=0.06)
    assert rows["tile_id"].tolist() == [
        f"A_{x}_{y}" for x, y in rows[["x", "y"]].values
    ]
    owners = rows[["sample_id", "patient_id", "site", "slide_id"]].drop_duplicates()
    assert owners.values.tolist() == [["S", "P", "x", "A"]]
    with Image.open(root / "thumbnails" / "A.jpg") as thumbnail:
        assert thumbnail.size == (80, 60)


def test_a_picture_with_its_mpp_given(real_data, tmp_path):
    path = real_data / "monuseg" / "train" / "TCGA-18-5592-01Z-00-DX1.jpg"
    report = tile_slide(row(path, 0.25), tmp_path, TileOptions())
    rows, tiles = shard(tmp_path)
    assert report.tiles == 4 and rows[["x", "y"]].values.tolist() == [
        [0, 0],
        [448, 0],
        [0, 448],
        [448, 448],
    ]
    region = Image.open(path).convert("RGB").crop((448, 0, 896, 448))
    region = region.resize((224, 224), Image.Resampling.BICUBIC)
    assert tiles[1] == encode_jpeg(np.asarray(region), 90)


def test_lots_are_drawn_of_the_places_kept(tmp_path):
    path = write_tiff(tmp_path / "a.tif", slide(960, 1280), 0.5)
    tile_slide(row(path), tmp_path / "all", SMALL)
    options = TileOptions(tile_px=64, mpp=0.5, max_tiles=9)
    assert tile_slide(row(path), tmp_path / "some", options).tiles == 9
    every, some = shard(tmp_path / "all"), shard(tmp_path / "some")
    order = [every[0]["tile_id"].tolist().index(one) for one in some[0]["tile_id"]]
    assert order == sorted(order)
    assert [every[1][place] for place in order] == some[1]


@pytest.mark.parametrize("kind", ["trident", "clam"])
def test_coordinates_of_others_go_before_tissue(tmp_path, kind):
    pixels = slide(960, 1280)
    path = write_tiff(tmp_path / "a.tif", pixels, 0.25, levels=(2,))
    places = np.array([[130, 0], [5, 7], [1152, 832]])
    with h5py.File(tmp_path / "A.h5", "w") as file:
        coords = file.create_dataset("coords", data=places)
        coords.attrs.update(
            {"patch_size": 64, "patch_size_level0": 128, "overlap": 0}
            if kind == "trident"
            else {"patch_size": 64, "patch_level": 1, "downsample": (2.0, 2.0)}
        )
    options = TileOptions(tile_px=64, mpp=0.5, coordinates=str(tmp_path))
    report = tile_slide(row(path), tmp_path / "study", options)
    assert report.tiles == 3 and report.tissue is None
    rows, tiles = shard(tmp_path / "study")
    np.testing.assert_array_equal(rows[["x", "y"]], places)
    own = openslide.OpenSlide(path)
    for place, data in zip(places.tolist(), tiles, strict=True):
        region = own.read_region(tuple(place), 1, (64, 64)).convert("RGB")
        assert data == encode_jpeg(np.asarray(region), 90)
    with h5py.File(tmp_path / "A.h5", "a") as file:
        file["coords"][2] = 1153, 832
    report = tile_slide(row(path), tmp_path / "study", options)
    assert report.status == "skipped" and "1 of 3 tiles are beyond" in report.reason
    assert not (tmp_path / "study" / "tiles" / "A.array_record").exists()


def unusable(kind, folder, real_data):
    """A row that cannot be tiled, and what has to be said of it."""
    path = folder / "a.tif"
    if kind == "gone":
        return row(path), "does not exist"
    if kind == "blank":
        write_tiff(path, glass(600, 600), 0.5)
        return row(path), r"no tile has 0.35 of tissue \(0.000"
    if kind == "no mpp":
        path = real_data / "wsi" / "TCGA-CR-7395-01A-01-TS1.svs"
        return row(path), "per pixel unknown.*--mpp-csv"
    if kind == "too coarse":
        write_tiff(path, slide(600, 600), 1.0)
        return row(path), "1 um/px, too coarse"
    if kind == "smaller than a tile":
        write_tiff(path, slide(60, 60), 0.5)
        return row(path), "60 x 60 px is smaller than a tile"
    whole = (real_data / "wsi" / "CMU-1-Small-Region.svs").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return row(path, 0.499), "a.tif"


@pytest.mark.parametrize(
    "kind",
    ["gone", "blank", "no mpp", "too coarse", "smaller than a tile", "truncated"],
)
def test_an_unusable_slide_is_skipped_with_its_reason(tmp_path, kind, real_data):
    made, said = unusable(kind, tmp_path, real_data)
    root = tmp_path / "study"
    report = tile_slide(made, root, SMALL)
    assert (report.status, report.tiles) == ("skipped", 0)
    assert re.search(said, report.reason), report.reason
    assert not [*(root / "tiles").iterdir()]
    assert not [*root.rglob(".partial-*")] and not [*root.rglob("*.parquet")]
    assert tile_slide(made, root, SMALL) == report


def test_a_slide_that_breaks_halfway_leaves_nothing(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.tif", slide(600, 600), 0.5)

    def some_tiles(*_):
        yield encode_jpeg(np.zeros((64, 64, 3), np.uint8))
        raise SlideError("broken near x 9")

    monkeypatch.setattr(tile, "encoded_tiles", some_tiles)
    report = tile_slide(row(path), tmp_path / "study", SMALL)
    assert report.reason == "broken near x 9"
    assert not [*(tmp_path / "study" / "tiles").iterdir()]


def test_repeating_does_nothing_until_something_changed(tmp_path, monkeypatch):
    path, root = tmp_path / "a.tif", tmp_path / "study"
    write_tiff(path, slide(600, 600), 0.5)
    report = tile_slide(row(path), root, SMALL)
    before = files(root)
    with monkeypatch.context() as patch:
        patch.setattr(tile, "open_slide", None)
        assert tile_slide(row(path), root, SMALL) == report
    # Its mpp: other tiles.
    assert tile_slide(row(path, 0.25), root, SMALL).tiles < report.tiles
    assert tile_slide(row(path), root, SMALL) == report
    assert files(root) == before
    # A file of other content, then one that is none.
    write_tiff(path, slide(700, 700), 0.5)
    assert tile_slide(row(path), root, SMALL).width == 700
    path.write_bytes(b"junk")
    assert tile_slide(row(path), root, SMALL).status == "skipped"
    assert not (root / "tiles" / "A.array_record").exists()
    # A shard that went missing is made again.
    write_tiff(path, slide(700, 700), 0.5)
    tile_slide(row(path), root, SMALL)
    (root / "tiles" / "A.array_record").unlink()
    tile_slide(row(path), root, SMALL)
    assert (root / "tiles" / "A.array_record").exists()


@pytest.mark.parametrize("where", ["encoded_tiles", "write_json"])
def test_interrupted_and_repeated_is_as_if_undisturbed(tmp_path, monkeypatch, where):
    path = write_tiff(tmp_path / "a.tif", slide(600, 600), 0.5)
    tile_slide(row(path), tmp_path / "whole", SMALL)
    root = tmp_path / "cut"
    inner = tile.encoded_tiles

    def stop(*_):
        raise KeyboardInterrupt

    def stop_soon(*arguments):
        yield from (data for data, _ in zip(inner(*arguments), range(5), strict=False))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tile, where, stop_soon if where == "encoded_tiles" else stop)
        with contextlib.suppress(KeyboardInterrupt):
            tile_slide(row(path), root, SMALL)
    assert files(root) != files(tmp_path / "whole")
    tile_slide(row(path), root, SMALL)
    assert files(root) == files(tmp_path / "whole")


def test_threads_do_not_change_the_bytes(real_data, tmp_path):
    path = real_data / "wsi" / "CMU-1-Small-Region.svs"
    for threads in (1, 3):
        tile_slide(row(path), tmp_path / str(threads), TileOptions(), threads)
    assert files(tmp_path / "1") == files(tmp_path / "3")


def test_skipped_slides_can_be_forgotten(tmp_path):
    path = tmp_path / "a.tif"
    write_tiff(path, slide(600, 600), 0.5)
    whole, times = path.read_bytes(), path.stat()
    path.write_bytes(bytes(len(whole)))  # a fault of the storage: same size and time
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert tile_slide(row(path), tmp_path, SMALL).status == "skipped"
    path.write_bytes(whole)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert tile_slide(row(path), tmp_path, SMALL).status == "skipped"
    forget_skipped(tmp_path, ["B"])
    assert tile_slide(row(path), tmp_path, SMALL).status == "skipped"
    forget_skipped(tmp_path, ["A"])
    report = tile_slide(row(path), tmp_path, SMALL)
    assert report.status == "tiled"
    forget_skipped(tmp_path, ["A"])
    assert (tmp_path / ".build" / "A.slide.json").exists()
