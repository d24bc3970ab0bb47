"""Entries and weights small enough for tests: shapes of the registry, tiny numbers."""

import dataclasses
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pathjax.models.variants import ViTConfig
from pathjax.zoo import get
from pathjax.zoo.entry import Entry
from pathjax.zoo.layouts import (
    DIALECTS,
    expand,
    param_shapes,
    their_shapes,
)


def shrink(vit: ViTConfig, **overrides) -> ViTConfig:
    """The same conventions at a width of 12 and a grid of 3."""
    tiny = {"patch": 4, "image_px": 12, "width": 12, "depth": 2, "heads": 3}
    return vit.replace(**{**tiny, "mlp_dim": 10, **overrides})


def tiny_entry(name: str, **overrides) -> Entry:
    entry = get(name)
    return dataclasses.replace(
        entry, vit=shrink(entry.vit, **overrides), preprocess=(16, 12, "bicubic")
    )


def random_state(
    vit: ViTConfig, layout: str, dialect: str | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """What a file of this layout, or of this dialect of any layout, would hold."""
    table = DIALECTS[dialect or layout]
    random = np.random.default_rng(seed)
    return {
        name: random.normal(0.2, 0.5, shape).astype(np.float32)
        for name, shape in their_shapes(table, vit).items()
    }


def speaking(vit: ViTConfig) -> list[str]:
    """The dialects that have a name for every parameter of an encoder."""
    paths = param_shapes(vit).keys()
    return [name for name, one in DIALECTS.items() if expand(one, vit).keys() == paths]


def write_weights(folder: Path, entry: Entry) -> Path:
    """A file of random weights for an entry."""
    file = folder / f"{entry.name}.safetensors"
    save_file(random_state(entry.vit, entry.layout), file)
    return file
