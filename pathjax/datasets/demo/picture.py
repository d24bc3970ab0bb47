"""A contact sheet of the synthetic cohort: a row per cancer type and other tissue.

    python -m pathjax.datasets.demo.picture docs/images/demo-tiles.png

Tiles are the first that the cohort holds of each kind, never chosen for their looks.
"""

import sys

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pathjax.datasets.demo.latents import CANCER_TYPES, TISSUES, draw_patient
from pathjax.datasets.demo.tissue import draw_tissue, render_tile

SEARCHED = 40  # tiles looked at per patient for one of the wanted kind
GAP_PX = 2
ENLARGED = 2


def contact_sheet(
    *, seed: int = 0, columns: int = 12, tile_px: int = 64, mpp: float = 1.0
) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles side by side: tumours by type, then the other tissues over all types."""
    rows = [("tumour", kind) for kind in range(len(CANCER_TYPES))]
    rows += [(tissue, None) for tissue in TISSUES[1:]]
    step = tile_px + GAP_PX
    sheet = np.full((len(rows) * step, columns * step, 3), 255, np.uint8)
    for i, (tissue, kind) in enumerate(rows):
        number = 0
        for j in range(columns):
            wanted = j % len(CANCER_TYPES) if kind is None else kind
            while True:
                patient = draw_patient(seed, number)
                number += 1
                tiles = range(SEARCHED if patient.cancer_type == wanted else 0)
                found = (t for t in tiles if draw_tissue(patient, t, seed) == tissue)
                tile = next(found, None)
                if tile is not None:
                    break
            rgb, _ = render_tile(patient, tile, tile_px=tile_px, mpp=mpp, seed=seed)
            sheet[i * step : i * step + tile_px, j * step : j * step + tile_px] = rgb
    return sheet


def main(path: str) -> None:
    """Writes the sheet as a small PNG: 256 colours, each pixel enlarged."""
    picture = Image.fromarray(contact_sheet()).quantize(256, dither=Image.Dither.NONE)
    width, height = picture.size
    picture = picture.resize((width * ENLARGED, height * ENLARGED), Image.NEAREST)
    picture.save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
