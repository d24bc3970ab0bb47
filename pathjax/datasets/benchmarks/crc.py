"""NCT-CRC-HE-100K and CRC-VAL-HE-7K: colorectal tissue in nine classes.

The colour-normalised version is read; the one without (NONORM) is another set.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import Benchmark, Part, Record, class_images

CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
FOLDERS = {"train": "NCT-CRC-HE-100K", "val": "CRC-VAL-HE-7K"}
MD5 = {
    "train": "035777cf327776a71a05c95da6d6325f",
    "val": "2fd1651b4f94ebd818ebf90ad2b6ce06",
}


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of both folders; names may occur in both, so ids carry the fold."""
    for fold in FOLDERS:
        for label, path in class_images(parts[fold], CLASSES, ".tif"):
            yield Record(f"{fold}/{path.stem}", label, fold, path)


CRC = Benchmark(
    name="crc",
    title="CRC-100K: colorectal tissue types",
    parts=tuple(
        Part(
            fold,
            places=(folder,),
            archive=f"{folder}.zip",
            inside=folder,
            url=f"https://zenodo.org/records/1214456/files/{folder}.zip",
            md5=MD5[fold],
            by_hand="https://zenodo.org/records/1214456",
        )
        for fold, folder in FOLDERS.items()
    ),
    classes=CLASSES,
    counts={"train": 100_000, "val": 7_180},
    scored="val",
    native="224 x 224",
    mpp=0.5,
    tile_px=224,
    read=read,
    rule="the published folders: 100K train, 7K val",
    patients="not in the files; each image is its own, and the two folders come from "
    "different patients (the second from 50)",
    licence="CC BY 4.0",
    source="Kather et al. 2019, doi:10.1371/journal.pmed.1002730; Zenodo 1214456",
    notes="colour-normalised (Macenko) by its authors",
)
