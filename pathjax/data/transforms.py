"""Augmentation of one uint8 tile, a function of the tile and its random generator.

NumPy and Pillow only: it runs in reading threads, and a JAX array there would start a
backend. Everything stays uint8, the device normalises (docs/architecture.md).
"""

import dataclasses

import numpy as np
from jaxtyping import UInt8
from PIL import Image

# Optical-density vectors of haematoxylin, eosin and a residual, rows; Ruifrok and
# Johnston, Anal. Quant. Cytol. Histol. 23 (2001) 291-299, table of H, E, DAB with the
# residual orthogonal to the first two.
_HAEMATOXYLIN = np.array([0.650, 0.704, 0.286])
_EOSIN = np.array([0.072, 0.990, 0.105])
_RESIDUAL = np.cross(_HAEMATOXYLIN, _EOSIN)
STAINS = np.stack(
    [v / np.linalg.norm(v) for v in (_HAEMATOXYLIN, _EOSIN, _RESIDUAL)]
).astype(np.float32)
UNMIX = np.linalg.inv(STAINS).astype(np.float32)

# Optical density of each 8-bit value; 1 is added so that black is finite.
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1.0) / 256.0)


@dataclasses.dataclass(frozen=True)
class Augment:
    """What is done to a training tile.

    Attributes:
      flip: Mirror images.
      turn: Quarter turns too: with `flip` all eight symmetries, equally likely.
      stain: Each stain's concentration is scaled by 1 + u and shifted by u / 10, u
        uniform in (-stain, stain). 0 is off.
      min_scale: The crop's area relative to the tile is uniform in (min_scale, 1), and
        it is resized; 1 crops without resizing.
    """

    flip: bool = True
    turn: bool = True
    stain: float = 0.0
    min_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class MultiCrop:
    """Global and local views of a tile (Caron et al. 2021, section 3.1 and appendix).

    Attributes:
      global_crops, local_crops: Number of views of this kind.
      local_px: Side of a local view; global ones have the loader's `image_px`.
      global_scale, local_scale: Range of the area relative to the tile.
      stain: Jitter of the stain concentrations, as in Augment.
    """

    global_crops: int = 2
    local_crops: int = 4
    local_px: int = 32
    global_scale: tuple[float, float] = (0.4, 1.0)
    local_scale: tuple[float, float] = (0.1, 0.4)
    stain: float = 0.1


def crop(
    tile: UInt8[np.ndarray, "H W 3"], px: int, top: int, left: int
) -> UInt8[np.ndarray, "h w 3"]:
    """A view of `px` by `px` of the tile."""
    return tile[top : top + px, left : left + px]


def centre_crop(tile: UInt8[np.ndarray, "H W 3"], px: int) -> np.ndarray:
    """The middle `px` by `px` of the tile, a view.

    Raises:
      ValueError: The tile is smaller.
    """
    height, width = tile.shape[:2]
    if min(height, width) < px:
        raise ValueError(
            f"expected a tile of at least {px} px, got {height} x {width}: set "
            f"data.image_px to at most {min(height, width)}"
        )
    return crop(tile, px, (height - px) // 2, (width - px) // 2)


def scaled_crop(
    tile: UInt8[np.ndarray, "H W 3"],
    px: int,
    scale: tuple[float, float],
    random: np.random.Generator,
) -> UInt8[np.ndarray, "px px 3"]:
    """A square crop of random area and place, resized to `px` (bilinear, antialias).

    Square, because stretching would change the shape of nuclei.
    """
    side = min(tile.shape[:2]) * np.sqrt(random.uniform(*scale))
    top = random.uniform(0, tile.shape[0] - side)
    left = random.uniform(0, tile.shape[1] - side)
    box = (left, top, left + side, top + side)
    image = Image.fromarray(tile).resize((px, px), Image.Resampling.BILINEAR, box)
    return np.asarray(image)


def flip(
    tile: UInt8[np.ndarray, "H W 3"], random: np.random.Generator, turn: bool = True
) -> UInt8[np.ndarray, "H W 3"]:
    """One of the eight symmetries of the square, or of the four without `turn`."""
    which = int(random.integers(8 if turn else 4))
    if which & 4:
        tile = tile.transpose(1, 0, 2)
    if which & 2:
        tile = tile[::-1]
    if which & 1:
        tile = tile[:, ::-1]
    return tile


def place(view: UInt8[np.ndarray, "H W 3"], out: UInt8[np.ndarray, "H W 3"]) -> None:
    """Copies a view into `out`, fast whichever way `flip` turned it.

    Where a row of the view does not run forwards in memory, NumPy would copy 3 bytes
    at a time; three copies of one channel take half as long (docs/performance.md).
    """
    if view.strides[1] == view.shape[2]:
        out[...] = view
        return
    for channel in range(view.shape[2]):
        out[..., channel] = view[..., channel]


def jitter_stain(
    tile: UInt8[np.ndarray, "H W 3"], strength: float, random: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Scales and shifts the concentrations of haematoxylin, eosin and the residual.

    Tellez et al., Med. Image Anal. 58 (2019) 101544 (HED colour augmentation). Mixing
    back right after unmixing makes it one 3 x 3 product in optical density.
    """
    scale = 1.0 + random.uniform(-strength, strength, 3).astype(np.float32)
    shift = random.uniform(-strength, strength, 3).astype(np.float32) / 10.0
    matrix = (UNMIX * scale) @ STAINS
    density = _DENSITY[tile].reshape(-1, 3) @ matrix + shift @ STAINS
    value = 256.0 * np.exp(-density) - 1.0
    return np.clip(np.rint(value), 0, 255).astype(np.uint8).reshape(tile.shape)


def augment(
    tile: UInt8[np.ndarray, "H W 3"],
    px: int,
    options: Augment,
    random: np.random.Generator,
) -> UInt8[np.ndarray, "px px 3"]:
    """A training view of `px` by `px`: crop, symmetry, stain."""
    if options.min_scale < 1.0:
        tile = scaled_crop(tile, px, (options.min_scale, 1.0), random)
    elif min(tile.shape[:2]) > px:
        top = int(random.integers(tile.shape[0] - px + 1))
        left = int(random.integers(tile.shape[1] - px + 1))
        tile = crop(tile, px, top, left)
    else:
        tile = centre_crop(tile, px)
    if options.flip:
        tile = flip(tile, random, options.turn)
    if options.stain > 0:
        tile = jitter_stain(tile, options.stain, random)
    return tile
