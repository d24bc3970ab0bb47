"""The one decoder of encoded tiles, images of folders and plain images used as slides.

JPEG tiles go through simplejpeg (libjpeg-turbo without a copy, the fastest decoder
measured, docs/performance.md), everything else through Pillow.
"""

import io
import struct

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

JPEG_MAGIC = b"\xff\xd8\xff"  # SOI marker and the first byte of the next (ITU-T T.81)
EXIF, EXIF_WITHIN = b"Exif\0\0", 4096  # an EXIF block is near the start
GREY = ("1", "L", "LA")  # modes of Pillow
BITS_PER_SAMPLE = 258  # TIFF 6.0


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
    if data[:3] == JPEG_MAGIC and _is_upright(data):
        try:
            return simplejpeg.decode_jpeg(data, "RGB")
        except ValueError:
            if simplejpeg.decode_jpeg_header(data)[2] not in ("CMYK", "YCCK"):
                raise
    try:
        with Image.open(io.BytesIO(data)) as image:
            return to_rgb(image)
    except UnidentifiedImageError as error:  # names an object in memory
        raise ValueError("not a complete image: of no format that is read") from error
    except OSError as error:
        raise ValueError(f"not a complete image: {error}") from error


def is_grey(data: bytes) -> bool:
    """Whether an image has one channel, by its header."""
    if data[:3] == JPEG_MAGIC:
        return simplejpeg.decode_jpeg_header(data)[2] == "Gray"
    with Image.open(io.BytesIO(data)) as image:
        return image.mode in GREY


def _is_upright(jpeg: bytes) -> bool:
    """Whether a JPEG's EXIF asks for no rotation."""
    start = jpeg.find(EXIF, 0, EXIF_WITHIN)
    if start < 0:
        return True
    exif = Image.Exif()
    try:
        exif.load(jpeg[start : start + 65_536])
        return exif.get(ExifTags.Base.Orientation, 1) == 1
    except (SyntaxError, struct.error):  # viewers ignore a damaged block as well
        return True


def to_rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    """Pixels as RGB `[H, W, 3]`: upright by EXIF, transparent ones over white.

    Takes grey, palette, CMYK and the rest of Pillow's 8-bit modes.

    Raises:
      ValueError: More than 8 bits per channel, whose range is unknown (Pillow would drop
        the low bits, and a 12-bit camera's picture be nearly black); or channels in
        pages of their own.
    """
    bits = bits_per_channel(image)
    if bits > 8:
        raise ValueError(
            f"expected 8 bits per channel, got {bits} (mode {image.mode}): convert the "
            "image, with the camera's range scaled to 0..255"
        )
    pages = getattr(image, "n_frames", 1)
    if pages > 1 and image.mode in GREY:
        raise ValueError(
            f"expected one RGB image, got {pages} grey pages: join the channels"
        )
    ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def bits_per_channel(image: Image.Image) -> int:
    """Bits as stored in the file; Pillow calls an image of 16 bits "RGB" too."""
    if image.mode in ("F", "I"):
        return 32
    tags = getattr(image, "tag_v2", {})
    stored = tags.get(BITS_PER_SAMPLE, (8,))
    raw_modes = [str(tile[3]) for tile in getattr(image, "tile", ())]
    if image.mode.startswith("I;16") or any(";16" in mode for mode in raw_modes):
        return 16
    return max(stored) if isinstance(stored, tuple) else int(stored)
