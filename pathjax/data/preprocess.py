"""What a published model wants done to an image before it sees it: resize, crop.

    uint8 [H, W, 3] -> short side to `resize` -> middle `crop` by `crop`, uint8

It does what torchvision v2's `Resize(resize, interpolation, antialias=True)` and
`CenterCrop(crop)` do: bit for bit on PIL images, which torchvision resizes with the
same Pillow (for images taller than about twice their width: with Pillow below 13), and
but for 1 of 255 levels in fewer than 1 % of the values (2 in 1 of 100,000) on uint8
tensors, whose kernel is Pillow's with coarser weights. Against torchvision and with the
numbers: tests/data/test_preprocess_peer.py.

Normalisation is not done here: pixels stay uint8 until `models.vit.normalise` has them
on the device.
"""

import dataclasses
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Resize and centre crop; call it with a tile.

    Attributes:
      resize: pixels of the short side after resizing; the other keeps the proportion.
      crop: side of the square that is cut from the middle; where it is larger than the
        resized image, black is added around that.
      interpolation: "bilinear" (triangle) or "bicubic" (Keys, a = -0.5); both widen
        with the scale, which is what antialiasing means.

    Raises:
      ValueError: a size below 1, or another interpolation.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={value!r}: wanted a whole number of pixels, at least 1"
            for name, value in (("resize", self.resize), ("crop", self.crop))
            if type(value) is not int or value < 1
        ]
        if self.interpolation not in _FILTERS:
            known = " or ".join(_FILTERS)
            wrong.append(f"interpolation={self.interpolation!r}: wanted {known}")
        if wrong:
            raise ValueError("cannot preprocess so: " + "; ".join(wrong))

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """Reads what `dataclasses.asdict` made, such as a model's meta["preprocess"].

        Raises:
          ValueError: keys are missing or unknown, or a value is not possible.
        """
        wanted = {field.name for field in dataclasses.fields(cls)}
        if set(entry) != wanted:
            raise ValueError(
                f"found preprocess with keys {sorted(entry)}, wanted {sorted(wanted)}: "
                "import the model again with this version"
            )
        return cls(**entry)

    def __call__(
        self, tile: UInt8[np.ndarray, "H W 3"]
    ) -> UInt8[np.ndarray, "crop crop 3"]:
        """The image as the model wants it; may be a read-only view."""
        return centre_square(
            resize_short_side(tile, self.resize, self.interpolation), self.crop
        )


def resize_short_side(
    tile: UInt8[np.ndarray, "H W 3"], px: int, interpolation: str
) -> UInt8[np.ndarray, "h w 3"]:
    """Resizes so that the short side has `px`; the long one is rounded down.

    Two passes, along the rows first, each rounded to uint8, as torch does. An image
    that has the size already is returned as it is.
    """
    height, width = tile.shape[:2]
    short, long = sorted((height, width))
    far = int(px * long / short)  # torchvision's expression, and its rounding
    size = (px, far) if width <= height else (far, px)
    if size == (width, height):
        return tile
    # Pass by pass: Pillow 13 takes the columns of tall images first (Pillow#9549); that
    # moves single values by up to 20 levels where bicubic's overshoot is cut off.
    image = Image.fromarray(tile)
    for step in ((size[0], height), size):
        image = image.resize(step, _FILTERS[interpolation])
    return np.asarray(image)


def centre_square(
    tile: UInt8[np.ndarray, "H W 3"], px: int
) -> UInt8[np.ndarray, "px px 3"]:
    """The middle `px` by `px` by torchvision's rules.

    An odd margin is halved to the even neighbour, not down as `transforms.centre_crop`
    does. A side that is too short gets black on both ends, an odd pixel at the far one.
    """
    before = [max(px - side, 0) // 2 for side in tile.shape[:2]]
    after = [(max(px - side, 0) + 1) // 2 for side in tile.shape[:2]]
    if any(after):
        margins = [*zip(before, after, strict=True), (0, 0)]
        tile = np.pad(tile, margins)
    top, left = (round((side - px) / 2) for side in tile.shape[:2])
    return tile[top : top + px, left : left + px]
