"""Encoding and decoding of tiles."""

import io
import struct
import zlib

import numpy as np
import pytest
from extras import extra
from PIL import ExifTags, Image

from pathjax.data.images import decode_tile, encode_jpeg

tifffile = extra("tifffile")


def gradient(px=64):
    ramp = np.linspace(0, 255, px).astype(np.uint8)
    return np.stack([np.tile(ramp, (px, 1)), np.tile(ramp[:, None], (1, px)),
                     np.full((px, px), 128, np.uint8)], axis=-1)  # fmt: skip


def test_jpeg_round_trip_is_close_and_agrees_with_pillow():
    tile = gradient()
    data = encode_jpeg(tile)
    ours = decode_tile(data)
    theirs = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert ours.dtype == np.uint8 and ours.shape == tile.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert np.abs(ours.astype(int) - tile).mean() < 2


def test_png_is_lossless():
    buffer = io.BytesIO()
    Image.fromarray(gradient()).save(buffer, format="PNG")
    assert np.array_equal(decode_tile(buffer.getvalue()), gradient())


@pytest.mark.parametrize("kind", ["jpeg", "png", "noise"])
def test_damaged_bytes_are_an_error(kind):
    if kind == "noise":
        data = b"no image at all"
    elif kind == "jpeg":
        data = encode_jpeg(gradient())[:300]
    else:
        buffer = io.BytesIO()
        Image.fromarray(gradient()).save(buffer, format="PNG")
        data = buffer.getvalue()[:100]
    with pytest.raises(ValueError):
        decode_tile(data)


def bytes_of(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white(mode):
    """OpenSlide leaves (0, 0, 0, 0) where nothing was scanned."""
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    found = decode_tile(bytes_of(Image.fromarray(pixels).convert(mode)))
    assert (found[:2] == 0).all() and (found[2:] == 255).all()


def png_16(pixels):
    """A PNG of 16 bits per RGB channel, which Pillow cannot write."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def tiff(pixels, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


def test_more_than_8_bits_are_refused():
    """Pillow opens all of them as "RGB" and keeps the upper bits: nearly black."""
    camera = gradient(16).astype(np.uint16) * 16  # 12 bits
    planes = camera.transpose(2, 0, 1)
    for data in (
        png_16(camera),
        tiff(camera, photometric="rgb"),
        tiff(camera, photometric="rgb", compression="deflate"),
        tiff(planes, photometric="rgb", planarconfig="separate"),
        tiff(camera[..., 0], photometric="minisblack"),
        bytes_of(Image.fromarray(camera[..., 0])),
    ):
        with pytest.raises(ValueError, match="expected 8 bits per channel, got 16"):
            decode_tile(data)
    with pytest.raises(ValueError, match="got 32"):
        decode_tile(tiff(np.zeros((4, 4), np.float32), photometric="minisblack"))


def test_channels_in_pages_of_their_own_are_refused():
    with pytest.raises(ValueError, match="got 3 grey pages"):
        decode_tile(tiff(gradient().transpose(2, 0, 1), photometric="minisblack"))
    planes = gradient().transpose(2, 0, 1)
    data = tiff(planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(decode_tile(data), gradient())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_an_image_is_upright_by_its_exif(kind):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 16:] = 200
    for orientation, turn in ((1, 0), (3, 2), (6, 3), (8, 1)):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        found = decode_tile(bytes_of(Image.fromarray(pixels), kind, exif=exif))
        assert np.abs(found.astype(int) - np.rot90(pixels, turn)).max() <= 2


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LAB"])
def test_other_modes_become_rgb(mode):
    grey = np.repeat(gradient()[..., :1], 3, axis=2)
    kind = "TIFF" if mode in ("CMYK", "YCbCr", "LAB") else "PNG"
    found = decode_tile(bytes_of(Image.fromarray(grey).convert(mode), kind))
    assert found.shape == (64, 64, 3)
    assert abs(found.mean() - grey.mean()) < 4
    if mode == "CMYK":
        found = decode_tile(bytes_of(Image.fromarray(grey).convert(mode), "JPEG"))
        assert np.abs(found.astype(int) - grey).mean() < 3
