"""Encoded tiles to uint8 arrays and back.

JPEG goes through simplejpeg (libjpeg-turbo without a copy, the fastest decoder
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
    """Decodes one tile to RGB `[H, W, 3]`.

    Raises:
      ValueError: the bytes are not a whole image.
    """
    if data[:3] == JPEG_MAGIC:
        return simplejpeg.decode_jpeg(data, "RGB")
    try:
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    except OSError as error:  # Pillow's UnidentifiedImageError is one too
        raise ValueError(f"not a whole image: {error}") from error
