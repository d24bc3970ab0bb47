"""Small slides to test on: made tissue on glass, written as the TIFF of a scanner."""

from pathlib import Path

import numpy as np
from extras import need
from PIL import Image

PINK, GLASS = (214, 140, 186), (243, 242, 244)


def glass(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An empty slide: near-white with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0, 1.5, (height, width, 3))
    return np.clip(np.array(GLASS) + noise, 0, 255).astype(np.uint8)


def tissue(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Pink with darker, violet nuclei: tissue throughout."""
    rng = np.random.default_rng(seed)
    base = np.array(PINK) + rng.normal(0, 6, (height, width, 3))
    cells = rng.random((height // 16 + 1, width // 16 + 1)) < 0.3
    cells = np.kron(cells, np.ones((16, 16), bool))[:height, :width]
    base[cells] -= (90, 70, 40)
    return np.clip(base, 0, 255).astype(np.uint8)


def slide(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Tissue in a rectangle of two thirds of the side, glass around."""
    made = glass(height, width, seed)
    top, left = height // 6, width // 6
    piece = tissue(height - 2 * top, width - 2 * left, seed)
    made[top : height - top, left : width - left] = piece
    return made


def write_tiff(
    path: Path, pixels: np.ndarray, mpp: float | None, levels=(), **options
) -> Path:
    """Writes a tiled TIFF; `levels` are whole downsamples, kept as further pages."""
    tifffile = need("tifffile")
    options = {"tile": (64, 64), "compression": "deflate", **options}
    with tifffile.TiffWriter(path) as file:
        for factor in (1, *levels):
            image = np.asarray(Image.fromarray(pixels).reduce(factor))
            kept = {} if mpp is None else {"resolution": (1e4 / mpp / factor,) * 2}
            file.write(
                image,
                photometric="rgb",
                resolutionunit="CENTIMETER" if mpp else None,
                subfiletype=int(factor > 1),
                metadata=None,
                **kept,
                **options,
            )
    return path
