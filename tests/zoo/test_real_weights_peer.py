"""Published weights on real tissue: transformers, timm and pathjax give one result."""

import functools

import numpy as np
import pytest
from PIL import Image

from pathjax import cli
from pathjax.models.model_file import load_model
from pathjax.models.variants import ViTConfig
from pathjax.models.vit import ViT, normalise
from pathjax.zoo import get
from pathjax.zoo.convert import from_state, to_state

pytestmark = pytest.mark.peer
NAME = "dinov2-vits14"


@pytest.fixture(scope="module")
def folder(real_data, tmp_path_factory):
    """The published file in a folder of transformers, and under timm's names."""
    from safetensors.numpy import load_file, save_file
    from transformers import Dinov2Config

    file = real_data / "weights" / "dinov2-small.safetensors"
    if not file.is_file():
        pytest.skip(f"no published weights at {file}")
    folder = tmp_path_factory.mktemp("published")
    vit = get(NAME).vit
    config = Dinov2Config(
        hidden_size=vit.width,
        num_hidden_layers=vit.depth,
        num_attention_heads=vit.heads,
        image_size=vit.image_px,
        patch_size=vit.patch,
        layer_norm_eps=1e-6,
        architectures=["Dinov2Model"],
    )
    config.save_pretrained(folder / "hf")
    (folder / "hf" / "model.safetensors").symlink_to(file)
    state = to_state(from_state(load_file(file), vit).params, vit, "timm")
    save_file(state, folder / "timm.safetensors")
    return folder


@functools.cache
def tissue(root, px):
    """A spot of her2st's section C5 and a nucleus region of MoNuSeg, uint8."""
    files = [
        next((root / "her2st" / "data" / "ST-imgs" / "C" / "C5").glob("*.jpg")),
        next(
            path for path in sorted((root / "monuseg").rglob("*.*")) if is_image(path)
        ),
    ]
    images = []
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    for file in files:
        with Image.open(file) as image:
            middle = image.width // 2, image.height // 2
            size = min(px, *image.size)
            left, top = (m - size // 2 for m in middle)
            tile = image.crop((left, top, left + size, top + size)).convert("RGB")
            images.append(np.asarray(tile.resize((px, px))))
    Image.MAX_IMAGE_PIXELS = limit
    return np.stack(images)


def is_image(path):
    return path.suffix.lower() in (".png", ".tif", ".tiff", ".jpg")


def imported(folder, form, px):
    """By the command line, from one of the two files."""
    out = folder / f"{form}-{px}"
    if not out.exists():
        weights = folder / ("hf" if form == "hf" else "timm.safetensors")
        words = ["import", NAME, "--weights", str(weights), "--image-px", str(px)]
        assert cli.main([*words, "--out", str(out)]) == 0
    return load_model(out)


def our_tokens(model, images, dtype="float32"):
    import jax

    vit: ViTConfig = model.vit.replace(dtype=dtype)
    pixels = normalise(images, vit.mean, vit.std, dtype)
    with jax.default_matmul_precision("highest"):
        out = jax.jit(ViT(vit).apply)({"params": model.params["vit"]}, pixels)
    tokens = np.concatenate([out.cls[:, None], out.patches], axis=1)
    return tokens.astype(np.float64)


def their_pixels(images):
    import torch

    vit = get(NAME).vit
    scaled = (images / 255 - np.array(vit.mean)) / np.array(vit.std)
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32))


def their_tokens(peer, images):
    import torch

    with torch.inference_mode():
        pixels = their_pixels(images)
        if hasattr(peer, "forward_features"):
            return peer.forward_features(pixels).numpy()
        return peer(pixels).last_hidden_state.numpy()


@functools.cache
def transformers_model(folder):
    from transformers import Dinov2Model

    model, report = Dinov2Model.from_pretrained(folder / "hf", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    return model.eval()


@functools.cache
def timm_model(folder):
    import timm

    return timm.create_model(
        "vit_small_patch14_dinov2",
        num_classes=0,
        dynamic_img_size=True,
        checkpoint_path=folder / "timm.safetensors",
    ).eval()


def relative(actual, expected):
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("px", [224, 518])
@pytest.mark.parametrize("form", ["hf", "timm"])
def test_the_tokens_of_both_libraries(folder, real_data, form, px):
    images = tissue(real_data, px)
    peer = {"hf": transformers_model, "timm": timm_model}[form](folder)
    expected = their_tokens(peer, images)
    model = imported(folder, form, px)
    actual = our_tokens(model, images)
    assert expected.shape == actual.shape
    assert relative(actual[:, 0], expected[:, 0]) < 1e-5
    assert relative(actual[:, 1:], expected[:, 1:]) < 1e-5
    low = our_tokens(model, images, "bfloat16")
    norms = np.linalg.norm(low, axis=-1) * np.linalg.norm(expected, axis=-1)
    cosine = (low * expected).sum(-1) / norms
    assert cosine.min() > 0.999


@pytest.mark.parametrize("px", [224, 518])
def test_the_export_gives_timm_the_same_tokens(folder, real_data, px):
    """Loaded strictly, with positions resized by the model's own rule."""
    import timm

    images, model = tissue(real_data, px), imported(folder, "hf", px)
    out = folder / f"export-{px}"
    words = ["export", str(folder / f"hf-{px}"), "--format", "timm", "--out", str(out)]
    assert cli.main([*words, "--image-px", str(px)]) == 0
    loaded = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    peer = their_tokens(transformers_model(folder), images)
    assert relative(their_tokens(loaded, images), peer) < 1e-6
    assert relative(our_tokens(model, images), peer) < 1e-5
