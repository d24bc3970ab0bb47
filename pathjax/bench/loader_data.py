"""The study that the loader benchmark reads: tiles cut from tissue images.

Real images where a folder is given, else synthetic tissue; the result says which. Peers
read the same encoded tiles from one .npz, without pathjax.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from PIL import Image

from pathjax.bench.options import BenchError
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study
from pathjax.data.study_writer import StudyWriter

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
SHARDS = 4
SYNTHETIC_IMAGES = 16


def find_images(folder: str) -> list[Path]:
    """Images to cut tiles from; none for synthetic tissue.

    Raises:
      BenchError: the folder holds none.
    """
    named = folder or os.environ.get("PATHJAX_TEST_DATA", "")
    root = Path(named) if folder else Path(named or ".") / "monuseg"
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    if folder and not found:
        raise BenchError(
            f"images={folder}: expected {', '.join(SUFFIXES)} files there; leave it "
            "out for synthetic tissue"
        )
    return found


def read_images(paths: list[Path], side: int) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The images, or synthetic ones of twice the tile's side."""
    for path in paths:
        with Image.open(path) as image:
            yield np.asarray(image.convert("RGB"))
    if paths:
        return
    from pathjax.datasets.demo.latents import draw_patient
    from pathjax.datasets.demo.tissue import render_tile

    for number in range(SYNTHETIC_IMAGES):
        patient = draw_patient(0, number)
        yield render_tile(patient, 0, tile_px=2 * side, mpp=0.5, seed=0)[0]


def cut_tiles(options: Any) -> tuple[list[bytes], str]:
    """Encoded tiles (JPEG, quality 90) from random places, and their source.

    Raises:
      BenchError: an image is smaller than a tile.
    """
    paths, side = find_images(options.images), options.tile_px
    random = np.random.default_rng(0)
    images = len(paths) or SYNTHETIC_IMAGES
    share = -(-options.tiles // images)
    tiles: list[bytes] = []
    for image in read_images(paths, side):
        if min(image.shape[:2]) < side:
            raise BenchError(
                f"expected images of at least {side} px, got {image.shape[0]} x "
                f"{image.shape[1]} px: give --config.tile_px or other --config.images"
            )
        for _ in range(share):
            top = random.integers(image.shape[0] - side + 1)
            left = random.integers(image.shape[1] - side + 1)
            tiles.append(encode_jpeg(image[top : top + side, left : left + side]))
    kind = "real" if paths else "synthetic"
    return tiles[: options.tiles], f"{kind} tissue, {images} images"


def build(folder: Path, options: Any) -> tuple[Study, str]:
    """Writes the study to `folder`/study and its tiles to `folder`/tiles.npz.

    Returns:
      The study, and the source of its tiles.
    """
    tiles, made_of = cut_tiles(options)
    writer = StudyWriter(
        folder / "study",
        name="bench",
        tile_px=options.tile_px,
        mpp=0.5,
        gene_id_type=None,
        synthetic=made_of.startswith("synthetic"),
        provenance={"source": made_of},
        build={},
    )
    names = [f"patient{shard}" for shard in range(SHARDS)]
    for shard, name in enumerate(names):
        with writer.shard(f"slide{shard}") as open_shard:
            for number in range(shard, len(tiles), SHARDS):
                open_shard.add(
                    tiles[number],
                    tile_id=f"tile{number}",
                    sample_id=name,
                    patient_id=name,
                    site="bench",
                    x=0,
                    y=0,
                    mpp=0.5,
                )
    study = writer.finish(
        samples=pd.DataFrame({"sample_id": names, "patient_id": names, "site": "bench"})
        .convert_dtypes()
        .astype(object),
        targets=[],
        splits=[Split("all", {"train": tuple(names)})],
    )
    np.savez(
        folder / "tiles.npz",
        data=np.frombuffer(b"".join(tiles), np.uint8),
        ends=np.cumsum([len(tile) for tile in tiles]),
    )
    return study, made_of
