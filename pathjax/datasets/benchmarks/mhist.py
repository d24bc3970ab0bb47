"""MHIST: colorectal polyps, sessile serrated adenoma or hyperplastic polyp.

Its terms want a request, so pathjax downloads nothing.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Part,
    Record,
)

CLASSES = ("SSA", "HP")
NAME, LABEL, FOLD = "Image Name", "Majority Vote Label", "Partition"
REQUEST = "request it at https://bmirds.github.io/MHIST/#accessing-dataset"


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records in the order of annotations.csv.

    Raises:
      BenchmarkError: a column is missing, a label or partition is not known, or an
        image's name leads out of its folder.
    """
    table = parts["annotations"]
    with open(table, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = {NAME, LABEL, FOLD} - set(rows.fieldnames or ())
        if missing:
            raise BenchmarkError(
                f"{table} lacks the columns {', '.join(sorted(missing))}; it has "
                f"{', '.join(rows.fieldnames or ()) or 'none'}: use the published file"
            )
        for row in rows:
            name, label, fold = row[NAME], row[LABEL], row[FOLD]
            known = label in CLASSES and fold in ("train", "test")
            if not known or Path(name).name != name:
                raise BenchmarkError(
                    f"{table}, line {rows.line_num}: image {name!r}, label {label!r}, "
                    f"partition {fold!r}; expected a file name, {' or '.join(CLASSES)}, "
                    "train or test: use the published file"
                )
            yield Record(Path(name).stem, label, fold, parts["images"] / name)


MHIST = Benchmark(
    name="mhist",
    title="MHIST: colorectal polyps, SSA or HP",
    parts=(
        Part("annotations", places=("annotations.csv",), by_hand=REQUEST),
        Part(
            "images",
            places=("images",),
            archive="images.zip",
            inside="images",
            by_hand=REQUEST,
        ),
    ),
    classes=CLASSES,
    counts={"train": 2_175, "test": 977},
    scored="test",
    native="224 x 224",
    mpp=2.0,
    tile_px=224,
    read=read,
    rule="column Partition of annotations.csv (kaiko's eva calls its test val)",
    patients="not in the files; each image is its own",
    licence="research use agreement of its authors",
    source="Wei et al. 2021, arXiv:2101.12355; bmirds.github.io/MHIST",
)
