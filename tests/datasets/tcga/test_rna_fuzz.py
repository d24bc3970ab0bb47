"""Damaged input gives TcgaError or a finite table, never anything else."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest
from tiny_rna import (
    SAMPLES,
    STAR,
    barcodes,
    matrix_text,
    porpoise_text,
    sheet_text,
    star_folder,
    tpm,
)

from pathjax.datasets.tcga.rna import read_rna
from pathjax.datasets.tcga.tables import TcgaError

TRIES = 120


def zipped(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", data)
    return buffer.getvalue()


MATRIX = matrix_text(
    np.log2(tpm(5, 40) + 0.001), [f"ENSG{i:011d}.1" for i in range(40)], barcodes(5)
).encode()
TABLE = porpoise_text(
    np.random.default_rng(0).normal(size=(24, 20)),
    [f"G{i}" for i in range(20)],
    [f"TCGA-05-{4000 + i % 22}" for i in range(24)],
).encode()
CART = json.dumps(
    [
        {
            "file_name": f"uuid-{i}{STAR}",
            "associated_entities": [{"entity_submitter_id": f"{one}-01R-1107-07"}],
        }
        for i, one in enumerate(SAMPLES)
    ]
).encode()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three of: cut, drop, repeat, flip bytes, junk, other separators, words."""
    for _ in range(rng.integers(1, 4)):
        begin, end = np.sort(rng.integers(0, len(data) + 1, 2))
        few = min(end, begin + 40)
        match rng.integers(0, 9):
            case 0:
                data = data[:begin]
            case 1:
                data = data[:begin] + data[few:]
            case 2:
                data = data[:few] + data[begin:few] + data[few:]
            case 3:
                data = data[:begin] + rng.bytes(few - begin) + data[few:]
            case 4:
                old, new = rng.choice([b"\t", b",", b"\n", b";", b"\r\n", b'"'], 2)
                data = data.replace(old, new, int(rng.choice([1, 5, -1])))
            case 5:
                data = data.replace(rng.choice([b"0", b"1", b"."]), b"", 3)
            case 6:
                word = rng.choice([b"nan", b"inf", b"1e999", b"-1", b"\x00", b"NA"])
                data = data[:begin] + word + data[few:]
            case 7:
                data = data[begin:]
            case 8:
                data = data.upper() if rng.random() < 0.5 else data.lower()
        if not data:
            break
    return data


def attempt(source) -> bool:
    """True when the damaged source could be read; all it gives is then usable."""
    try:
        rna = read_rna(source)
    except TcgaError as error:
        assert str(error)
        return False
    assert rna.n_obs and rna.n_vars and np.isfinite(rna.X).all()
    assert rna.obs_names.is_unique and rna.var_names.is_unique
    return True


@pytest.mark.parametrize(
    ("name", "data", "pack"),
    [
        ("tcga_RSEM_gene_tpm", MATRIX, bytes),
        ("tcga_RSEM_gene_tpm.gz", gzip.compress(MATRIX), bytes),
        ("tcga_luad.csv", TABLE, bytes),
        ("tcga_luad.csv.zip", zipped(TABLE), bytes),
        ("tcga_RSEM_gene_tpm.gz", MATRIX, gzip.compress),
        ("tcga_luad.csv.zip", TABLE, zipped),
    ],
)
def test_matrices_and_tables(tmp_path, name, data, pack):
    path = tmp_path / name
    path.write_bytes(pack(data))
    assert attempt(path)
    rng = np.random.default_rng(len(data))
    failed = 0
    for _ in range(TRIES):
        path.write_bytes(pack(mutated(data, rng)))
        failed += not attempt(path)
    assert failed > TRIES / 3  # the mutations do harm


@pytest.mark.parametrize("what", ["star", "sheet", "cart"])
def test_star_folders(tmp_path, what):
    star_folder(tmp_path, nested=False)
    sheet = tmp_path / "gdc_sample_sheet.2022-04-01.tsv"
    path, data = {
        "star": (tmp_path / f"uuid-0{STAR}", None),
        "sheet": (sheet, sheet_text().encode()),
        "cart": (tmp_path / "metadata.cart.json", CART),
    }[what]
    if what == "star":
        data = path.read_bytes()
        for other in (1, 2):
            (tmp_path / f"uuid-{other}{STAR}").unlink()
    elif what == "cart":
        sheet.unlink()
        path.write_bytes(data)
    assert attempt(tmp_path)
    rng = np.random.default_rng(7)
    failed = 0
    for _ in range(TRIES):
        path.write_bytes(mutated(data, rng))
        failed += not attempt(tmp_path)
    assert failed > TRIES / 10
