"""BRACS regions of interest: breast lesions in seven classes, in published folds.

BRACS's whole slides are not read. The site wants a registration, so pathjax downloads
nothing.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Part,
    Record,
    class_images,
)

CLASSES = ("0_N", "1_PB", "2_UDH", "3_FEA", "4_ADH", "5_DCIS", "6_IC")
FOLDS = ("train", "val", "test")
NAME = re.compile(r"(BRACS_\d+)_[A-Z]+_\d+")  # BRACS_264_N_5.png: slide, class, number


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of the three folders.

    Raises:
      BenchmarkError: a name does not say the slide.
    """
    for fold in FOLDS:
        for label, path in class_images(parts[fold], CLASSES, ".png"):
            match = NAME.fullmatch(path.stem)
            if match is None:
                raise BenchmarkError(
                    f"{path} does not name its slide; wanted a name as "
                    "BRACS_264_N_5.png: remove it, or download the folder anew"
                )
            slide = match.group(1)
            yield Record(path.stem, label, fold, path, patient_id=slide, slide_id=slide)


BRACS = Benchmark(
    name="bracs",
    title="BRACS, regions of interest: breast lesion types",
    parts=tuple(
        Part(
            fold,
            places=tuple(
                f"{root}{fold}" for root in ("BRACS_RoI/latest_version/", "BRACS_RoI/")
            ),
            by_hand="register at https://www.bracs.icar.cnr.it/download/",
        )
        for fold in FOLDS
    ),
    classes=CLASSES,
    counts={"train": 3_657, "val": 312, "test": 570},
    scored="test",
    native="varies",
    mpp=0.25,
    tile_px=224,
    read=read,
    rule="the published folders",
    patients="not in the files; a slide stands for its patient, and the folders hold "
    "different patients",
    licence="CC BY-NC 4.0",
    source="Brancati et al. 2022, doi:10.1093/database/baac093",
    notes="tiles differ in mpp, because regions differ in size; the study's is the "
    "median, each tile's stands in its table",
    sizes_vary=True,
)
