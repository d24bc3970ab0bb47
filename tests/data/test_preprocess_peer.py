"""Preprocessing against torchvision v2, on real tissue where it is there, and noise."""

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.peer
torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")
from torchvision.transforms import v2

from pathjax.data.preprocess import Preprocess
from pathjax.models.vit import normalise

SIZES = [(24, 24), (37, 32), (64, 64), (223, 223), (224, 224), (256, 224), (301, 280),
         (518, 518), (200, 224)]  # fmt: skip


def shapes(tile):
    """The tile, and parts of it with odd and unequal sides."""
    height, width = tile.shape[:2]
    return [tile, tile[:-7, 3:], tile[: height * 2 // 3], tile[:, : width // 3]]


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((50, 50), (131, 77))]


@pytest.fixture(scope="module")
def tissue(real_data):
    """Tiles of 50, 224 and 1000 px, from PNG, TIFF and JPEG."""
    files = sorted(real_data.glob("idc_patches/**/*.png"))[::80]
    files += sorted(real_data.glob("nct_crc_samples/*.tif"))[::2]
    files += sorted(real_data.glob("monuseg/**/*.jpg"))[:2]
    tiles = [np.array(Image.open(file).convert("RGB")) for file in files]
    assert {tile.shape[0] for tile in tiles} == {50, 224, 1000}
    return tiles


def peer(resize, crop, interpolation):
    mode = v2.InterpolationMode[interpolation.upper()]
    return v2.Compose(
        [v2.Resize(resize, interpolation=mode, antialias=True), v2.CenterCrop(crop)]
    )


@pytest.mark.parametrize("images", ["noise", "tissue"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize_and_crop(images, interpolation, request):
    levels = np.zeros(256, int)  # how often our value and torch's are so far apart
    for whole in request.getfixturevalue(images):
        for tile in shapes(whole):
            for resize, crop in SIZES:
                ours = Preprocess(resize, crop, interpolation)(tile)
                theirs = peer(resize, crop, interpolation)
                # Bit for bit: what timm's own transforms do, which open PIL images.
                # Pillow 13 resizes tall ones in the other order (Pillow#9549).
                if tile.shape[0] < 2 * tile.shape[1]:
                    pil = np.asarray(theirs(Image.fromarray(tile)))
                    np.testing.assert_array_equal(ours, pil)
                tensor = torch.from_numpy(tile.transpose(2, 0, 1).copy())
                tensor = theirs(tensor).permute(1, 2, 0).numpy()
                difference = np.abs(ours.astype(int) - tensor).ravel()
                levels += np.bincount(difference, minlength=256)
    share = levels / levels.sum()
    print(f"{images}, {interpolation}: 0 to 5 levels apart {levels[:6].tolist()}")
    # torch's tensor kernel keeps its weights in 16 bits, Pillow's in 32; bicubic's
    # negative weights enlarge what the first pass has rounded otherwise.
    assert share[1:].sum() < 0.01
    assert share[2:].sum() < 1e-5
    assert not levels[3:].any()


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet's
        ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)),
    ],
)
def test_normalise(mean, std):
    """All 256 values of each channel, at the rounding of float32."""
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    theirs = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
    )
    wanted = theirs(torch.from_numpy(values.transpose(0, 3, 1, 2).copy()))
    found = np.asarray(normalise(values, mean, std))
    np.testing.assert_allclose(found, wanted.permute(0, 2, 3, 1).numpy(), atol=2e-6)
