"""Small studies of the names, targets, folds and ids that the ten columns ask for."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.benchmarks import BENCHMARKS
from pathjax.evals.suites import TCGA

PX, GENES = 32, 1100
COHORT = {"train": 8, "val": 4, "probe_fit": 24, "probe_test": 12}


def picture(value: int) -> bytes:
    return encode_jpeg(np.full((PX, PX, 3), 30 + 37 * value % 200, np.uint8), 100)


def writer(root: Path, name: str) -> StudyWriter:
    return StudyWriter(
        root / name,
        name=name,
        tile_px=PX,
        mpp=0.5,
        gene_id_type="symbol",
        synthetic=True,
    )


def benchmark(root: Path, name: str, each: int = 12) -> None:
    """Tiles whose brightness is their class; CRC-MSI's names hold TCGA barcodes."""
    classes, made, folds = BENCHMARKS[name].classes, writer(root, name), {}
    rows = []
    with made.shard("all") as shard:
        for fold in BENCHMARKS[name].counts:
            ids = [f"{fold}{i}" for i in range(each)]
            if name == "crc-msi":
                ids = [f"TCGA-{fold[:2].upper()}-{i:04d}" for i in range(each)]
            folds[fold] = tuple(ids)
            for i, one in enumerate(ids):
                rows.append((one, one, "unknown"))
                shard.add(
                    picture(i % len(classes)),
                    tile_id=f"{one}-01Z.png",
                    sample_id=one,
                    patient_id=one,
                    site="unknown",
                    slide_id=one,
                    label=classes[i % len(classes)],
                )
    made.finish(
        samples=pd.DataFrame(rows, columns=["sample_id", "patient_id", "site"]),
        targets=[Target("label", "tile", "class", classes)],
        splits=[Split("benchmark", folds)],
    )


def tcga(root: Path) -> None:
    """Patients of two tiles, all targets, and expression that follows their number."""
    made, count = writer(root, "tcga"), sum(COHORT.values())
    patients = [f"TCGA-ZZ-{i:04d}" for i in range(count)]
    table = pd.DataFrame({"sample_id": patients, "patient_id": patients, "site": "ZZ"})
    targets = []
    for target, named in TCGA.values():
        classes = named or ("BRCA", "LUAD")
        table[target] = [classes[i % len(classes)] for i in range(count)]
        targets.append(Target(target, "sample", "class", classes))
    for i, one in enumerate(patients):
        with made.shard(f"{one}-01Z-00-DX1") as shard:
            for k in range(2):
                shard.add(
                    picture(i % 6 + k),
                    tile_id=f"{one}-{k}",
                    sample_id=one,
                    patient_id=one,
                    site="ZZ",
                    x=k,
                )
    values = np.random.default_rng(0).normal(size=(count, GENES))
    values += (np.arange(count) % 6)[:, None]
    ends = np.cumsum([0, *COHORT.values()])
    made.finish(
        samples=table,
        targets=targets,
        splits=[
            Split(
                "cohort",
                {
                    fold: tuple(patients[ends[i] : ends[i + 1]])
                    for i, fold in enumerate(COHORT)
                },
            )
        ],
        expression=anndata.AnnData(
            X=values.astype(np.float32),
            obs=pd.DataFrame(index=patients),
            var=pd.DataFrame(index=[f"G{i}" for i in range(GENES)]),
            uns={"pathjax": {"x": "z-scores"}},
        ),
    )


def build(root: Path) -> Path:
    for name in ("bach", "pcam", "mhist", "crc-msi"):
        benchmark(root, name)
    tcga(root)
    return root
