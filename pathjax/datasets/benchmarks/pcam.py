"""PatchCamelyon: lymph nodes, is there tumour in the middle of the tile?

Images are rows of HDF5 files, read a block at a time. Where the published meta files
lie beside them, a slide stands for its patient; without them each image does.
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

CLASSES = ("no_tumor", "tumor")
PUBLISHED = {"train": "train", "val": "valid", "test": "test"}
PX = 96
BLOCK = 256  # rows read at once: 7 MB
# Of the uncompressed files.
MD5 = {
    "train x": "01844da899645b4d6f84946d417ba453",
    "train y": "0781386bf6c2fb62d58ff18891466aca",
    "val x": "81cf9680f1724c40673f10dc88e909b1",
    "val y": "94d8aacc249253159ce2a2e78a86e658",
    "test x": "2614b2e6717d6356be141d9d6dbfcb7e",
    "test y": "11ed647efe9fe457a4eb45df1dba19ba",
}


class Rows:
    """The images of one file, with the last block kept."""

    def __init__(self, path: Path):
        self.path = path
        self._start, self._block = -1, None

    def read(self, row: int):
        """One image, uint8 `[96, 96, 3]`."""
        import h5py

        start = row - row % BLOCK
        if start != self._start:
            with h5py.File(self.path) as file:
                self._block = file["x"][start : start + BLOCK]
            self._start = start
        return self._block[row - start]


class Row:
    """One image of a file."""

    __slots__ = ("_row", "_rows")

    def __init__(self, rows: Rows, row: int):
        self._rows, self._row = rows, row

    def read(self):
        """The image, uint8 `[96, 96, 3]`."""
        return self._rows.read(self._row)


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records in the order of the files.

    Raises:
      BenchmarkError: a file lacks its key, shapes do not fit, a label is not 0 or 1.
    """
    for fold in PUBLISHED:
        images, labels = parts[f"{fold} x"], parts[f"{fold} y"]
        values = _labels(images, labels)
        slides = _slides(parts.get(f"{fold} meta"), len(values))
        rows = Rows(images)
        for row, value in enumerate(values):
            slide, x, y = slides[row] if slides else (None, 0, 0)
            yield Record(
                f"{fold}-{row:06d}",
                CLASSES[value],
                fold,
                Row(rows, row),
                patient_id=slide,
                slide_id=slide,
                x=x,
                y=y,
            )


def _labels(images: Path, labels: Path) -> list[int]:
    import h5py

    try:
        with h5py.File(images) as file, h5py.File(labels) as other:
            lacking = [
                f"{path} has no dataset {key!r} but {sorted(there)}"
                for path, there, key in ((images, file, "x"), (labels, other, "y"))
                if key not in there
            ]
            if lacking:
                raise BenchmarkError("; ".join(lacking) + ": download it again")
            shape, values = file["x"].shape, other["y"][:].reshape(-1)
    except OSError as error:
        raise BenchmarkError(
            f"{images} or {labels} is no whole HDF5 file ({error}): download it again"
        ) from error
    if shape != (len(values), PX, PX, 3):
        raise BenchmarkError(
            f"{images} has shape {shape}, expected {(len(values), PX, PX, 3)} for the "
            f"{len(values)} labels of {labels}: they are not of one set"
        )
    strange = sorted(set(values.tolist()) - {0, 1})
    if strange:
        raise BenchmarkError(
            f"{labels} has the labels {strange[:5]}, expected 0 and 1: download it again"
        )
    return [int(value) for value in values]


def _slides(path: Path | None, count: int) -> list[tuple[str, int, int]] | None:
    if path is None:
        return None
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = {"wsi", "coord_x", "coord_y"} - set(rows.fieldnames or ())
        if missing:
            raise BenchmarkError(
                f"{path} lacks the columns {', '.join(sorted(missing))}: use the "
                "published file, or remove it"
            )
        found = [(row["wsi"], int(row["coord_x"]), int(row["coord_y"])) for row in rows]
    if len(found) != count:
        raise BenchmarkError(
            f"{path} has {len(found)} rows for {count} images: use the published file, "
            "or remove it"
        )
    return found


def _parts() -> Iterator[Part]:
    where = "https://zenodo.org/records/2546921"
    for fold, published in PUBLISHED.items():
        stem = f"camelyonpatch_level_2_split_{published}"
        for key in "xy":
            name = f"{stem}_{key}.h5"
            yield Part(
                f"{fold} {key}",
                places=(name,),
                archive=f"{name}.gz",
                url=f"{where}/files/{name}.gz",
                md5=MD5[f"{fold} {key}"],
                md5_of="content",
                by_hand=where,
            )
        yield Part(f"{fold} meta", (f"{stem}_meta.csv",), by_hand=where, optional=True)


PCAM = Benchmark(
    name="pcam",
    title="PatchCamelyon: lymph node metastases",
    parts=tuple(_parts()),
    classes=CLASSES,
    counts={"train": 262_144, "val": 32_768, "test": 32_768},
    scored="test",
    native="96 x 96",
    mpp=1.0,
    tile_px=PX,
    read=read,
    rule="the published files",
    patients="a slide stands for its patient where the files ..._meta.csv lie beside "
    "the images; without them each image is its own, and intervals are too narrow",
    licence="CC0 1.0",
    source="Veeling et al. 2018, arXiv:1806.03962; Zenodo 2546921",
    notes="made from Camelyon16",
)
