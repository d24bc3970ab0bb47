"""A task of HEST-bench as it is published: its patches, splits and 50 genes.

    IDC/splits/train_0.csv, test_0.csv, ...   sample_id, patches_path, expr_path
    IDC/patches/ID.h5                         img [n, 224, 224, 3], barcode(s)
    IDC/adata/ID.h5ad                         raw counts
    IDC/var_50genes.json                      {"genes": [...]}

Patches are kept as they are, without loss, so that a probe sees what the benchmark's own
sees. Nothing is cut from whole slides: that is `pathjax data spatial`.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse
from PIL import Image

from pathjax.data.fold_files import hest_tables
from pathjax.data.study import Split, Study, StudyError
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.dataset import Progress
from pathjax.datasets.spatial.anndata_file import not_counts, read_anndata
from pathjax.datasets.spatial.hest import barcodes_of
from pathjax.files import read_json, reading, sha256, write_json

MPP = 0.5
GENES = "var_50genes.json"
COLUMNS = ("sample_id", "patches_path", "expr_path")
PROTOCOL = "hest-ridge/1"
TASK = "task.json"


def build_hest_bench(source: Path, out: Path, *, progress: Progress) -> Study:
    """Builds the study of a task, and `task.json` in it, for `pathjax evaluate --tasks`.

    Its split "hest" has a fold for each test set, if each trains on all others as in
    HEST-bench; a patient is a sample, since the files name none.

    Raises:
      StudyError: A file is missing or damaged, or splits are not of that kind.
    """
    tests, files = read_splits(source)
    with reading(source / GENES, StudyError):
        genes = read_json(source / GENES, {"genes": [str]})["genes"]
    name = source.resolve().name
    writer = StudyWriter(
        out,
        name=name,
        tile_px=_side(files, source),
        mpp=MPP,
        gene_id_type="symbol",
        provenance={
            "source": "HEST-bench (MahmoodLab/hest-bench), CC BY-NC-SA 4.0",
            "genes": sha256(source / GENES),
        },
        build={"task": name},
    )
    tables = []
    for done, (sample, (patches, expression)) in enumerate(files.items(), start=1):
        codes = _write_patches(writer, sample, source / patches)
        tables.append(_counts(source / expression, codes, genes, sample))
        progress(done, len(files))
    joined = anndata.concat(tables, join="inner")
    counts = scipy.sparse.csr_matrix(joined.X, dtype=np.float32)
    joined.layers["counts"] = counts
    joined.X = counts.copy()
    joined.X.data = np.log1p(joined.X.data)
    joined.uns["pathjax"] = {"x": "log1p(counts)"}
    owners = [name.split("|")[0] for name in joined.obs_names]
    joined.obs_names = [name.replace("|", "_", 1) for name in joined.obs_names]
    samples = pd.DataFrame(
        {"sample_id": joined.obs_names, "patient_id": owners, "site": "HEST"}
    )
    note = "HEST-bench's own: patients are held apart by it, and not named in its files"
    split = Split("hest", {f"fold{k}": ids for k, ids in enumerate(tests)}, note=note)
    study = writer.finish(samples=samples, splits=[split], expression=joined)
    write_json(out / TASK, [task(name, genes)])
    return study


def task(study: str, genes: list[str]) -> dict[str, Any]:
    """The benchmark's question, as a task of pathjax."""
    return {
        "name": f"HEST {study}",
        "study": study,
        "target": None,
        "kind": "expression",
        "split": "hest",
        "fit": None,
        "test": "*",
        "genes": genes,
        "protocol": PROTOCOL,
    }


def read_splits(
    source: Path,
) -> tuple[list[tuple[str, ...]], dict[str, tuple[str, str]]]:
    """Samples of each test set, and patches and expression by sample.

    Raises:
      StudyError: There are none, or a test set's training set is not all other samples.
    """
    folder = source / "splits"
    rounds = hest_tables(folder, COLUMNS)
    if not rounds:
        raise StudyError(
            f"{source}: expected a task of HEST-bench, with splits/train_0.csv, "
            f"test_0.csv, patches/, adata/ and {GENES}"
        )
    files: dict[str, tuple[str, str]] = {}
    tests, trains = [], []
    for parts in rounds:
        for table, sets in ((parts["test"], tests), (parts["train"], trains)):
            for row in table.itertuples():
                files[row.sample_id] = (row.patches_path, row.expr_path)
            sets.append(tuple(table["sample_id"]))
    every = [sample for test in tests for sample in test]
    for k, (test, train) in enumerate(zip(tests, trains, strict=True)):
        if set(train) != set(files) - set(test) or len(every) != len(set(every)):
            raise StudyError(
                f"{folder}: split {k} trains on {', '.join(train)} and tests on "
                f"{', '.join(test)}: expected every sample in one test set, and all "
                "others in its training set"
            )
    return tests, files


def _side(files: Mapping[str, tuple[str, str]], source: Path) -> int:
    sides = set()
    for patches, _ in files.values():
        with _open(source / patches) as file:
            sides.add(tuple(file["img"].shape[1:]))
    if len(sides) != 1 or len(next(iter(sides))) != 3:
        raise StudyError(f"{source}: patches of several sizes: {sorted(sides)}")
    ((height, width, channels),) = sides
    if height != width or channels != 3:
        raise StudyError(f"{source}: expected square RGB patches, got {sides}")
    return int(height)


def _open(path: Path) -> h5py.File:
    with reading(path, StudyError):
        file = h5py.File(path)
    lacking = [] if "img" in file else ["img"]
    if not {"barcode", "barcodes"} & set(file):
        lacking.append("barcode")
    if lacking:
        raise StudyError(f"{path} lacks {', '.join(lacking)}; it has {', '.join(file)}")
    return file


def _write_patches(writer: StudyWriter, sample: str, path: Path) -> list[str]:
    """Writes a sample's patches as PNG; returns their barcodes."""
    with _open(path) as file:
        codes = barcodes_of(file)
        if len(codes) != len(file["img"]):
            raise StudyError(
                f"{path}: {len(file['img'])} patches, {len(codes)} barcodes"
            )
        if writer.has_shard(sample):
            return codes
        corners = file["coords"][:] if "coords" in file else np.zeros((len(codes), 2))
        with writer.shard(sample) as shard:
            for row, code in enumerate(codes):
                data = io.BytesIO()
                Image.fromarray(file["img"][row]).save(data, "PNG")
                name = f"{sample}_{code}"
                shard.add(
                    data.getvalue(),
                    tile_id=name,
                    sample_id=name,
                    patient_id=sample,
                    site="HEST",
                    x=corners[row][0],
                    y=corners[row][1],
                )
    return codes


def _counts(
    path: Path, codes: list[str], genes: list[str], sample: str
) -> anndata.AnnData:
    """Counts of the spots that have a patch, in the patches' order."""
    adata = read_anndata(path)
    for what, names, wanted in (
        ("barcodes", adata.obs_names, codes),
        ("genes", adata.var_names, genes),
    ):
        lacking = [name for name in wanted if name not in names]
        if lacking:
            raise StudyError(
                f"{path} lacks {len(lacking)} {what} of the task, first {lacking[0]}"
            )
        if names.has_duplicates:
            raise StudyError(f"{path} has {what} twice")
    adata = adata[codes].copy()
    matrix = scipy.sparse.csr_matrix(adata.X, dtype=np.float32)
    if problem := not_counts(matrix.data):
        raise StudyError(f"{path}: expected raw counts in X, got {problem}")
    return anndata.AnnData(
        matrix,
        obs=pd.DataFrame(index=[f"{sample}|{code}" for code in codes]),
        var=pd.DataFrame(index=adata.var_names.astype(str)),
    )
