"""The resizing and cropping that a published model expects, on uint8 images.

    [H, W, 3] -> short side to `resize` -> middle `crop` by `crop`

Equals torchvision v2's `Resize(resize, interpolation, antialias=True)` and `CenterCrop`
bit for bit on PIL images, and to 1 of 255 levels in fewer than 1 % of the values (2 in
1 of 100,000) on uint8 tensors; measured in tests/data/test_preprocess_peer.py.
Normalisation is done on the device, by `models.vit.normalise`.
"""

import dataclasses
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Resize and centre crop; call it with a tile.

    Attributes:
      resize: Short side after resizing, in pixels; the other keeps the proportion.
      crop: Side of the middle square; black is added where it is larger than the image.
      interpolation: "bilinear" (triangle) or "bicubic" (Keys, a = -0.5), antialiased.

    Raises:
      ValueError: A size below 1, or another interpolation.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        problems = [
            f"{name}: expected a whole number of pixels, at least 1, got {value!r}"
            for name, value in (("resize", self.resize), ("crop", self.crop))
            if type(value) is not int or value < 1
        ]
        if self.interpolation not in _FILTERS:
            known = " or ".join(_FILTERS)
            problems.append(
                f"interpolation: expected {known}, got {self.interpolation!r}"
            )
        if problems:
            raise ValueError("invalid preprocessing: " + "; ".join(problems))

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Self:
        """From `dataclasses.asdict`, such as a model's meta["preprocess"].

        Raises:
          ValueError: Keys are missing or unknown, or a value is invalid.
        """
        expected = {field.name for field in dataclasses.fields(cls)}
        if set(entry) != expected:
            raise ValueError(
                f"preprocess: expected the keys {sorted(expected)}, got "
                f"{sorted(entry)}: import the model again with this version"
            )
        return cls(**entry)

    def scaled(self, crop: int) -> Self:
        """The same part of the image at another size: `crop` pixels across."""
        resize = round(self.resize * crop / self.crop)
        return dataclasses.replace(self, resize=resize, crop=crop)

    def __call__(
        self, tile: UInt8[np.ndarray, "H W 3"]
    ) -> UInt8[np.ndarray, "crop crop 3"]:
        """The image as the model expects it; may be a read-only view."""
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
