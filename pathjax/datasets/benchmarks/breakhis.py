"""BreakHis at 40X: breast tumours in the four types with patients enough.

The other magnifications show the same places again, and the four types with few
patients (A, PT, LC, PC) cannot be split by patient; neither is read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from pathjax.datasets.benchmarks.benchmark import (
    Benchmark,
    BenchmarkError,
    Part,
    Record,
    images_below,
)

CLASSES = ("TA", "MC", "F", "DC")
LEFT_OUT = ("A", "PT", "LC", "PC")
# Of kaiko's eva.
VALIDATION = frozenset(
    ("18842D", "19979", "15275", "15792", "16875", "3909", "5287", "16716")
    + ("2773", "5695", "16184CD", "23060CD", "21998CD", "21998EF")
)


def read(parts: Mapping[str, Path]) -> Iterator[Record]:
    """Records of all folders called 40X, sorted by path.

    Raises:
      BenchmarkError: a name does not say class and patient.
    """
    for path in images_below(parts["slides"], ".png"):
        if path.parent.name != "40X":
            continue
        # SOB_B_TA-14-3411F-40-001.png: procedure_B/M_TYPE-year-patient-40-number
        fields = path.stem.split("-")
        label = fields[0].split("_")[-1]
        if len(fields) != 5 or label not in CLASSES + LEFT_OUT:
            raise BenchmarkError(
                f"{path} is of type {label!r}, {len(fields)} fields; wanted a name as "
                f"SOB_B_TA-14-3411F-40-001.png with {', '.join(CLASSES + LEFT_OUT)}: "
                "remove it, or unpack the published archive anew"
            )
        if label in LEFT_OUT:
            continue
        patient = fields[2]
        fold = "val" if patient in VALIDATION else "train"
        yield Record(path.stem, label, fold, path, patient_id=f"breakhis:{patient}")


BREAKHIS = Benchmark(
    name="breakhis",
    title="BreakHis, 40X: breast tumour types",
    parts=(
        Part(
            "slides",
            places=("BreaKHis_v1/histology_slides", "histology_slides"),
            archive="BreaKHis_v1.tar.gz",
            inside="BreaKHis_v1/histology_slides",
            url="http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz",
            by_hand="https://web.inf.ufpr.br/vri/databases/"
            "breast-cancer-histopathological-database-breakhis/",
        ),
    ),
    classes=CLASSES,
    counts={"train": 1_132, "val": 339},
    scored="val",
    native="700 x 460",
    mpp=0.25,
    tile_px=224,
    read=read,
    rule="kaiko eva's list of 14 patients is val; types A, PT, LC, PC are dropped",
    patients="known: third field of each name",
    licence="CC BY 4.0",
    source="Spanhol et al. 2016, doi:10.1109/TBME.2015.2496264",
    notes="ids that differ in their last letters only (as 16184 and 16184CD) count as "
    "different patients, as in eva; whether they are is not published. mpp as in eva",
)
