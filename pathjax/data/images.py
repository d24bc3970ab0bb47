"""The one decoder of encoded tiles, images of folders and plain images used as slides.

JPEG tiles go through simplejpeg (libjpeg-turbo without a copy, the fastest decoder
measured, docs/performance.md), everything else through Pillow.
"""

import io

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

JPEG_MAGIC = b"\xff\xd8\xff"  # SOI marker and the first byte of the next (ITU-T T.81)


def encode_jpeg(tile: UInt8[np.ndarray, "H W 3"], quality: int = 90) -> bytes:
    """Encodes one RGB tile `[H, W, 3]`; 4:4:4, because stain is in the chroma."""
    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(tile), quality=quality, colorsubsampling="444"
    )


def decode_tile(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """Decodes one image to RGB `[H, W, 3]`.

    Raises:
      ValueError: The bytes are not a complete image, or see `to_rgb`.
    """
    if data[:3] == JPEG_MAGIC:
        return simplejpeg.decode_jpeg(data, "RGB")
    try:
        return to_rgb(Image.open(io.BytesIO(data)))
    except OSError as error:  # Pillow's UnidentifiedImageError is one too
        raise ValueError(f"not a complete image: {error}") from error


def to_rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels as RGB `[H, W, 3]`, transparent ones over white.

    Raises:
      ValueError: More than 8 bits per channel, which Pillow would clip, not scale.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        raise ValueError(f"expected 8 bits per channel, got mode {image.mode}")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))
