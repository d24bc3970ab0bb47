"""Damaged tables: an error of one sentence, or each row used or named, none lost.

Those of labels are in tests/properties/test_label_tables.py.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from damage import damaged_table, examples
from hypothesis import given
from hypothesis import strategies as st
from tiny_rna import barcodes, matrix_text, porpoise_text, sheet_text, tpm

from pathjax.data.tables import is_missing
from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.rna import read_rna, skipped_of
from pathjax.datasets.tcga.rna_sheet import read_sheets
from pathjax.datasets.tcga.tables import TcgaError

FILES = ("plain", "BOM", "CRLF", "UTF-16", "cut", "upper case", "spaces")
place = st.integers(0, 999)


def damaged(text, separator):
    """Header and rows of a table after some damages."""
    header, *rows = (line.split(separator) for line in text.splitlines())
    tables = damaged_table(header, rows).map(lambda table: [table[0], *table[1]])
    return tables.filter(lambda table: len(table) < 500)


def written(folder, name, table, separator, form, cut):
    text = "\n".join(separator.join(row) for row in table) + "\n"
    if form == "spaces":
        text = text.replace(separator, f"{separator} ")
    text = text.upper() if form == "upper case" else text
    text = text[: cut % len(text)] if form == "cut" else text
    text = text.replace("\n", "\r\n") if form == "CRLF" else text
    code = {"BOM": "utf-8-sig", "UTF-16": "utf-16"}.get(form, "utf-8")
    path = Path(folder) / name
    path.write_bytes(text.encode(code))
    return path


def attempt(read, *args):
    """The result, or None after an error that a person can read."""
    try:
        return read(*args)
    except TcgaError as error:
        assert 10 < len(str(error)) < 700 and "Traceback" not in str(error)
        return None


def lines_of(path, separator, blank=False):
    """Rows of the file as written; `blank`: also those of separators only."""
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    lines = data.decode("utf-16" if wide else "utf-8-sig").splitlines()
    rows = [[cell.strip() for cell in line.split(separator)] for line in lines if line]
    return [row for row in rows if blank or any(row)]


SAMPLES = [f"TCGA-05-{4200 + i}-{'11A' if i % 3 == 0 else '01A'}" for i in range(9)]


@examples(80)
@given(damaged(sheet_text(SAMPLES), "\t"), st.sampled_from(FILES), place)
def test_sample_sheets(table, form, cut):
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, "sheet.tsv", table, "\t", form, cut)
        result = attempt(read_sheets, [path])
        if result is None:
            return
        rows, notes = result
        header, *lines = lines_of(path, "\t")
    named = {what for what, _ in notes}
    column = [name.lower() for name in header].index("file name")
    files = {line[column] for line in lines if len(line) == len(header)}
    assert {file for file in files if not is_missing(file)} <= set(rows) | named
    assert len(lines) <= len(rows) + len(notes) + repeated(lines)
    for name, row in rows.items():  # a file is of the sample that its line says
        own = [line for line in lines if name in line]
        assert row.barcode.sample in {find(" ".join(line)).sample for line in own}


def repeated(lines):
    return len(lines) - len({tuple(line[:2]) for line in lines})


TPM = np.round(tpm(8, 30), 4)
GENES = [f"ENSG{i:011d}.4" for i in range(30)]


def numbers_of(lines):
    """`[rows, samples]`; cells that are no numbers are NaN."""
    table = pd.DataFrame([line[1:] for line in lines])
    return table.apply(pd.to_numeric, errors="coerce").to_numpy()


@examples(80)
@given(
    damaged(matrix_text(TPM, GENES, barcodes(8)), "\t"), st.sampled_from(FILES), place
)
def test_xena_matrices(table, form, cut):
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, "tpm.tsv", table, "\t", form, cut)
        rna = attempt(read_rna, path)
        if rna is None:
            return
        header, *lines = lines_of(path, "\t", blank=True)
    skipped = [one["what"] for one in skipped_of(rna)]
    genes = rna.uns["pathjax"]["genes"]
    columns = [one for one in skipped if not one.startswith("gene ")]
    assert len(header) - 1 == rna.n_obs + len(columns)
    lost = ("no_gene", "missing_values", "repeated_equal", "added_repeated")
    lost = sum(genes.get(one, 0) for one in (*lost, "changed_by_spreadsheet"))
    assert len(lines) == rna.n_vars + lost
    values = numbers_of(lines)
    ids = [line[0].partition(".")[0] for line in lines]
    for row, name in enumerate(ids):
        if name in rna.var_names and ids.count(name) == 1:
            expected = np.log2(values[row] + 1)
            kept = [header[1:].index(one.partition("#")[0]) for one in rna.obs_names]
            np.testing.assert_allclose(rna[:, name].X[:, 0], expected[kept], rtol=1e-4)


SCORES = np.round(np.random.default_rng(0).normal(size=(26, 12)), 4)
CASES = [f"TCGA-05-{4000 + i}" for i in range(26)]


SCORED = porpoise_text(SCORES, [f"G{i}" for i in range(12)], CASES)


@examples(80)
@given(damaged(SCORED, ","), st.sampled_from(FILES), place)
def test_porpoise_tables(table, form, cut):
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, "tcga_luad.csv", table, ",", form, cut)
        rna = attempt(read_rna, path)
        if rna is None:
            return
        header, *lines = lines_of(path, ",", blank=True)
    cases = {line[header.index("case_id")] for line in lines}
    named = {one["what"] for one in skipped_of(rna)}
    assert len(cases) == rna.n_obs + len(named)
    assert {case for case in cases if case not in named} == set(rna.obs["case_id"])
