"""Encoding and decoding of tiles."""

import io

import numpy as np
import pytest
from PIL import Image

from pathjax.data.images import decode_tile, encode_jpeg


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


def test_transparent_pixels_are_white_and_16_bits_are_refused():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    found = decode_tile(png_of(Image.fromarray(pixels)))
    assert (found[:2] == 0).all() and (found[2:] == 255).all()
    deep = Image.fromarray(np.zeros((4, 4), np.uint16))
    with pytest.raises(ValueError, match="expected 8 bits per channel, got mode I"):
        decode_tile(png_of(deep))


def png_of(image):
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
