"""Folders of images: what is found, in which order, what places names tell."""

import os

import numpy as np
import pytest
from PIL import Image

from pathjax.data.images import encode_jpeg
from pathjax.data.study import StudyError
from pathjax.data.tile_source import ImageFolder, read_image


def tile(seed, height=20, width=20):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def take(folder, rows=None, batch=4, px=8, threads=2):
    rows = np.arange(len(folder)) if rows is None else np.array(rows)
    cut = lambda pixels: pixels[:px, :px]
    return list(folder.batches(rows, batch=batch, px=px, prepare=cut, threads=threads))


def test_all_images_below_in_the_order_of_their_paths(tmp_path):
    for name in ("b/2.TIF", "b/1.png", "a.tiff", "b/c/0.JPG", "z.jpeg"):
        save(tmp_path / name, tile(0))
    save(tmp_path / ".hidden/1.png", tile(0))
    (tmp_path / "b" / "._1.png").write_bytes(b"what macOS leaves")
    (tmp_path / "notes.txt").write_text("no image")
    folder = ImageFolder(tmp_path)
    assert folder.paths == ["a.tiff", "b/1.png", "b/2.TIF", "b/c/0.JPG", "z.jpeg"]
    assert folder.tile_ids([1, 3]) == ["b/1.png", "b/c/0.JPG"]
    assert folder.name == tmp_path.name and len(folder) == 5


@pytest.mark.parametrize("fill", ["nothing", "text", "no folder"])
def test_a_folder_without_images_is_an_error(tmp_path, fill):
    if fill == "text":
        (tmp_path / "a.txt").write_text("x")
    where = tmp_path / "missing" if fill == "no folder" else tmp_path
    with pytest.raises(StudyError, match="expected a"):
        ImageFolder(where)


def test_what_is_not_used_is_named(tmp_path):
    root = tmp_path / "root"
    save(root / "a.png", tile(0))
    save(root / "b.bmp", tile(0))
    save(tmp_path / "elsewhere" / "c.png", tile(0))
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "d.dcm").write_bytes(b"x")
    (root / "gone.png").symlink_to(tmp_path / "gone.png")
    folder = ImageFolder(root)
    assert folder.paths == ["a.png", "gone.png"]
    assert folder.unused == [
        ("b.bmp", ".bmp is not read: convert it, or use `pathjax tile`"),
        ("d.dcm", ".dcm is not read: convert it, or use `pathjax tile`"),
        ("linked", "a link to a folder is not searched"),
    ]
    (batch,) = take(folder)
    assert batch["mask"].tolist() == [True, False, False, False]
    assert folder.fingerprint
    (root / "a.png").unlink()
    (root / "gone.png").unlink()
    with pytest.raises(StudyError, match=r"got no image .*b\.bmp: \.bmp is not read"):
        ImageFolder(root)


def test_tiles_are_the_files_and_padding_is_masked(tmp_path):
    tiles = [tile(i) for i in range(6)]
    for i, pixels in enumerate(tiles):
        save(tmp_path / f"{i}.png", pixels)
    first, second = take(ImageFolder(tmp_path))
    np.testing.assert_array_equal(first["image"], [t[:8, :8] for t in tiles[:4]])
    np.testing.assert_array_equal(second["image"][:2], [t[:8, :8] for t in tiles[4:]])
    assert second["mask"].tolist() == [True, True, False, False]
    assert first["skipped"] == [] and first["sizes"] == {(20, 20)}


def test_what_cannot_be_read_is_passed_over_with_its_reason(tmp_path):
    for i in (0, 2, 7):
        save(tmp_path / f"{i}.png", tile(i))
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[:200])
    (tmp_path / "3.tif").write_bytes(b"II*\0 no TIFF")
    (tmp_path / "4.jpg").write_bytes(encode_jpeg(tile(4))[:150])
    (tmp_path / "5.png").write_bytes(b"")
    deep = np.full((20, 20), 40_000, np.uint16)
    Image.fromarray(deep).save(tmp_path / "6.tiff")
    (batch,) = take(ImageFolder(tmp_path), batch=8)
    assert batch["mask"].tolist() == [True, False, True] + [False] * 4 + [True]
    assert [row for row, _ in batch["skipped"]] == [1, 3, 4, 5, 6]
    reasons = dict(batch["skipped"])
    assert all(reasons.values())
    assert "expected 8 bits per channel" in reasons[6]
    assert not batch["image"][~batch["mask"]].any()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(tile(3)).convert(mode)
    image.save(tmp_path / "a.tif")
    wanted = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), wanted)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("14082_idx5_x2351_y1151_class0.png", (2351, 1151)),
        ("x5_y70.png", (5, 70)),
        ("slide-X12-Y0.png", (12, 0)),
        ("x12y5.png", (0, 0)),
        ("max5_y7.png", (0, 0)),
        ("a_x5_y7b.png", (0, 0)),
        ("TUM-AACHEHDV.tif", (0, 0)),
        ("x1_y2/plain.png", (0, 0)),  # the name, not the folder's
    ],
)
def test_places_that_names_tell(tmp_path, name, place):
    save(tmp_path / name, tile(0))
    found = ImageFolder(tmp_path).coords(np.array([0]))
    assert found.dtype == np.int64 and found.tolist() == [list(place)]


def test_the_side_is_told_where_all_are_the_same_square(tmp_path):
    save(tmp_path / "a.png", tile(0))
    folder = ImageFolder(tmp_path)
    assert folder.attributes({(50, 50)}) == {"name": tmp_path.name, "patch_size": 50}
    for sizes in ({(50, 50), (49, 50)}, {(50, 40)}, set()):
        assert folder.attributes(sizes) == {"name": tmp_path.name}


def test_the_fingerprint_changes_with_the_files(tmp_path):
    save(tmp_path / "a.png", tile(0))
    first = ImageFolder(tmp_path).fingerprint
    assert ImageFolder(tmp_path).fingerprint == first
    os.utime(tmp_path / "a.png", ns=(1, 1))
    second = ImageFolder(tmp_path).fingerprint
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    third = ImageFolder(tmp_path).fingerprint
    save(tmp_path / "c.png", tile(0))
    assert len({first, second, third, ImageFolder(tmp_path).fingerprint}) == 4
    assert ImageFolder(tmp_path).coords(np.array([], int)).shape == (0, 2)


def test_real_sets(real_data):
    breast = ImageFolder(real_data / "idc_patches")
    assert len(breast) == 478
    place = breast.coords(np.arange(478))
    assert (place % 50 == 1).all()  # tiles of 50 px on a grid that begins at 1
    colon = ImageFolder(real_data / "nct_crc_samples")
    (batch,) = take(colon, batch=9, px=224)
    assert batch["mask"].all() and batch["sizes"] == {(224, 224)}
