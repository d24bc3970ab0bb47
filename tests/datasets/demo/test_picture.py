"""The contact sheet in the docs is what the generator draws."""

from pathlib import Path

import numpy as np
from PIL import Image

from pathjax.datasets.demo.picture import contact_sheet, main

COMMITTED = Path(__file__).parents[3] / "docs" / "images" / "demo-tiles.png"


def test_the_committed_sheet_is_saved_and_current(tmp_path):
    path = tmp_path / "sheet.png"
    main(str(path))
    assert path.stat().st_size < 700 * 1024
    drawn = np.asarray(Image.open(path).convert("RGB"), np.float32)
    kept = np.asarray(Image.open(COMMITTED).convert("RGB"), np.float32)
    assert drawn.shape == kept.shape
    # Not equal: the palette of 256 colours may differ with Pillow's version.
    assert np.abs(drawn - kept).mean() < 3


def test_rows_and_columns():
    sheet = contact_sheet(columns=2, tile_px=32)
    assert sheet.shape == (9 * 34, 2 * 34, 3) and sheet.dtype == np.uint8
    assert (sheet[:, 32:34] == 255).all()
