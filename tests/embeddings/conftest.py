"""The study of tests/eval_study.py, a model and a folder of images, for these tests."""

import numpy as np
import pytest
from embedded import made
from eval_study import features, study
from PIL import Image

from pathjax.data.tile_source import ImageFolder
from pathjax.models.vit import vit_config

__all__ = ["features", "study"]


@pytest.fixture(scope="module")
def model():
    return made(vit_config("Xs/8", width=24, depth=1, image_px=16))


@pytest.fixture
def folder(tmp_path):
    """20 images of two sizes, numbers 3 and 12 of them broken."""
    root = tmp_path / "images"
    for i in range(20):
        place = root / f"s{i % 2}" / f"t{i:02d}_x{50 * i}_y{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        side = 16 if i < 10 else 23
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 256, (side, side + i % 2, 3), np.uint8)
        Image.fromarray(pixels).save(place)
    for row in (3, 12):
        path = root / ImageFolder(root).paths[row]
        path.write_bytes(path.read_bytes()[:99])
    return ImageFolder(root)
