"""BACH: breast histology in four classes, split by position in the sorted listing.

The archive's challenge images are unlabelled and its whole slides are not tiles;
neither is read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Part,
    Record,
    class_images,
)

CLASSES = ("Benign", "InSitu", "Invasive", "Normal")
IMAGES = 400
# kaiko's eva chose these ranges so that no patient is on both sides; half open.
VALIDATION = ((41, 59), (60, 90), (139, 169), (240, 258), (260, 273), (345, 368))


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records in the order of the listing.

    Raises:
      BenchmarkError: the listing is not complete: folds are positions in it.
    """
    images = class_images(parts["photos"], CLASSES, ".tif")
    if len(images) != IMAGES:
        raise BenchmarkError(
            f"{parts['photos']} has {len(images)} images, wanted {IMAGES}: a fold is a "
            "range of positions in the complete listing, so part of the set cannot be "
            "split; unpack the archive whole"
        )
    for place, (label, path) in enumerate(images):
        held_out = any(start <= place < end for start, end in VALIDATION)
        yield Record(path.stem, label, "val" if held_out else "train", path)


BACH = Benchmark(
    name="bach",
    title="BACH: breast, normal, benign, in situ or invasive",
    parts=(
        Part(
            "photos",
            places=("ICIAR2018_BACH_Challenge/Photos", "Photos"),
            archive="ICIAR2018_BACH_Challenge.zip",
            inside="ICIAR2018_BACH_Challenge/Photos",
            url="https://zenodo.org/records/3632035/files/ICIAR2018_BACH_Challenge.zip",
            by_hand="https://zenodo.org/records/3632035",
        ),
    ),
    classes=CLASSES,
    counts={"train": 268, "val": 132},
    scored="val",
    native="2048 x 1536",
    mpp=0.42,
    tile_px=224,
    read=read,
    rule="kaiko eva's index ranges over the sorted listing of all 400",
    patients="not in the files; each image is its own, and the ranges keep patients "
    "apart",
    licence="CC BY-NC-ND 4.0",
    source="Aresta et al. 2019, doi:10.1016/j.media.2019.05.010; Zenodo 3632035",
    notes="at 224 px a pixel is 2.88 micrometres, coarser than encoders are usually "
    "trained on",
)
