"""Damaged input gives TcgaError or a finite table, never anything else."""

import gzip
import io
import json
import zipfile

import numpy as np
import pytest
from damage import cut, examples, json_bytes, table_bytes
from hypothesis import given
from tiny_rna import (
    SAMPLES,
    STAR,
    barcodes,
    matrix_text,
    porpoise_text,
    sheet_text,
    star_folder,
    star_text,
    tpm,
)

from pathjax.datasets.tcga.rna import read_rna
from pathjax.datasets.tcga.tables import TcgaError


def zipped(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", data)
    return buffer.getvalue()


def damaged(text, separator):
    """Bytes of a table after some damages."""
    header, *rows = (line.split(separator) for line in text.splitlines())
    return table_bytes(header, rows, separators=separator)


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


IDS = [f"ENSG{i:011d}.1" for i in range(40)]
MATRIX = matrix_text(np.log2(tpm(5, 40) + 0.001), IDS, barcodes(5))
SCORES = np.random.default_rng(0).normal(size=(24, 20))
CASES = [f"TCGA-05-{4000 + i % 22}" for i in range(24)]
TABLE = porpoise_text(SCORES, [f"G{i}" for i in range(20)], CASES)


@pytest.mark.parametrize(
    ("name", "text", "separator"),
    [("tcga_RSEM_gene_tpm", MATRIX, "\t"), ("tcga_luad.csv", TABLE, ",")],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zipped])
def test_matrices_and_tables(tmp_path, name, text, separator, pack):
    path = tmp_path / name
    path.write_bytes(pack(text.encode()))
    assert attempt(path)

    @examples(60)
    @given(damaged(text, separator).map(pack).flatmap(cut))
    def check(content):
        path.write_bytes(content)
        attempt(path)

    check()


CART = [
    {
        "file_name": f"uuid-{i}{STAR}",
        "associated_entities": [{"entity_submitter_id": f"{one}-01R-1107-07"}],
    }
    for i, one in enumerate(SAMPLES)
]
FILES = {
    f"uuid-0{STAR}": damaged(star_text(0).partition("\n")[2], "\t"),
    "gdc_sample_sheet.2022-04-01.tsv": damaged(sheet_text(), "\t"),
    "metadata.cart.json": json_bytes(CART),
}


@pytest.mark.parametrize("name", FILES)
def test_star_folders(tmp_path, name):
    star_folder(tmp_path, SAMPLES[: 1 if name.startswith("uuid") else 3], nested=False)
    if name.endswith("json"):
        (tmp_path / "gdc_sample_sheet.2022-04-01.tsv").unlink()
        (tmp_path / name).write_text(json.dumps(CART))
    assert attempt(tmp_path)

    @examples(80)
    @given(FILES[name])
    def check(content):
        (tmp_path / name).write_bytes(content)
        attempt(tmp_path)

    check()
