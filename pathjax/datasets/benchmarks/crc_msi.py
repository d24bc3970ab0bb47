"""CRC-MSI: microsatellite instability from tiles of TCGA's colorectal slides (DX).

A tile's name carries its slide's barcode, so patients are known, and an audit against
models that saw TCGA is possible. The set's stomach slides (STAD) are not read.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Part,
    Record,
    images_below,
)

CLASSES = ("MSS", "MSIMUT")
FOLDS = {"train": "TRAIN", "test": "TEST"}
# blk-THPNGVSFMQPH-TCGA-CM-6171-01Z-00-DX1.png
NAME = re.compile(
    r"blk-[A-Z]+-((TCGA-([A-Z0-9]{2})-[A-Z0-9]{4})-[A-Z0-9]{3}-[A-Z0-9]{2}-DX[0-9A-Z]+)"
)


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of the four folders.

    Raises:
      BenchmarkError: a tile's name has no barcode.
    """
    for fold in FOLDS:
        for label in CLASSES:
            for path in images_below(parts[f"{fold} {label}"], ".png"):
                match = NAME.fullmatch(path.stem)
                if match is None:
                    raise BenchmarkError(
                        f"{path} has no slide barcode in its name; wanted "
                        "blk-LETTERS-TCGA-XX-XXXX-01Z-00-DX1.png: remove it, or "
                        "unpack the published archive anew"
                    )
                slide, patient, site = match.groups()
                yield Record(
                    f"{fold}/{label}/{path.stem}",
                    label,
                    fold,
                    path,
                    patient_id=patient,
                    slide_id=slide,
                    site=site,
                )


def _part(fold: str, label: str) -> Part:
    name = f"CRC_DX_{FOLDS[fold]}_{label}"
    return Part(
        f"{fold} {label}",
        places=(f"{name}/{label}", f"CRC_DX_{FOLDS[fold]}/{label}"),
        archive=f"{name}.zip",
        inside=label,
        url=f"https://zenodo.org/record/2530835/files/{name}.zip",
        by_hand="https://zenodo.org/record/2530835",
    )


CRC_MSI = Benchmark(
    name="crc-msi",
    title="CRC-MSI: colorectal cancer, MSI or highly mutated against MSS",
    parts=tuple(_part(fold, label) for fold in FOLDS for label in CLASSES),
    classes=CLASSES,
    counts={"train": 93_408, "test": 98_904},
    scored="test",
    native="224 x 224",
    mpp=256 / 224,
    tile_px=224,
    read=read,
    rule="the published archives",
    patients="known: the TCGA barcode in each name, its first 12 characters",
    licence="CC BY 4.0 (not checked at the source); TCGA open tier",
    source="Kather et al. 2019, doi:10.1038/s41591-019-0462-y; Zenodo 2530835",
    notes="mpp is of 256 micrometres a side, while descriptions of the archive say "
    "0.5: not settled; colour-normalised (Macenko); train is balanced, "
    "test is not (MSS 70,569, MSIMUT 28,335); models trained on TCGA have seen these "
    "patients",
)
