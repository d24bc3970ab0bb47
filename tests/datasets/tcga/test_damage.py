"""Damaged tables: an error of one sentence, or each row used or named, none lost."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_rna import barcodes, matrix_text, porpoise_text, sheet_text, tpm

from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.labels import read_labels
from pathjax.datasets.tcga.rna import read_rna, skipped_of
from pathjax.datasets.tcga.rna_sheet import read_sheets
from pathjax.datasets.tcga.tables import TcgaError

KINDS = ("drop column", "drop row", "repeat row", "other copy", "blank cell")
KINDS += ("swap cells", "short row", "long row", "decimal commas", "word", "empty rows")
FILES = ("plain", "BOM", "CRLF", "UTF-16", "cut", "upper case", "spaces")
SETTINGS = settings(max_examples=80, deadline=None, derandomize=True, database=None)
place = st.integers(0, 999)
damage = st.lists(st.tuples(st.sampled_from(KINDS), place, place), max_size=3)


def damaged(text, separator, changes):
    """The table, header first, after the changes."""
    table = [line.split(separator) for line in text.splitlines()]
    for kind, a, b in changes:
        row = table[1 + a % (len(table) - 1)] if len(table) > 1 else table[0]
        column = b % len(row)
        if kind == "drop column" and min(map(len, table)) > 1:
            for one in table:
                del one[min(column, len(one) - 1)]
        elif kind == "drop row" and len(table) > 2:
            table.remove(row)
        elif kind in ("repeat row", "other copy"):
            copy = list(row)
            if kind == "other copy":
                copy[column] = copy[column].replace("1", "2")
            table.append(copy)
        elif kind == "blank cell":
            row[column] = ""
        elif kind == "swap cells":
            row[0], row[column] = row[column], row[0]
        elif kind == "short row" and len(row) > 1:
            row.pop()
        elif kind == "long row":
            row.append("1")
        elif kind == "decimal commas":
            row[:] = [cell.replace(".", ",", 1) for cell in row]
        elif kind == "word":
            row[column] = "n.d."
        elif kind == "empty rows":
            table += [[""] * len(row), [""]]
    return table


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


@SETTINGS
@given(damage, st.sampled_from(FILES), place)
def test_sample_sheets(changes, form, cut):
    samples = [f"TCGA-05-{4200 + i}-{'11A' if i % 3 == 0 else '01A'}" for i in range(9)]
    table = damaged(sheet_text(samples), "\t", changes)
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, "sheet.tsv", table, "\t", form, cut)
        result = attempt(read_sheets, [path])
        if result is None:
            return
        rows, notes = result
        header, *lines = lines_of(path, "\t")
    named = {what for what, _ in notes}
    column = [name.lower() for name in header].index("file name")
    files = {line[column] for line in lines if len(line) == len(header)} - {""}
    assert files <= set(rows) | named
    assert len(lines) <= len(rows) + len(notes) + repeated(lines)
    for name, row in rows.items():  # a file is of the sample that its line says
        own = [line for line in lines if name in line]
        assert row.barcode.sample in {find(" ".join(line)).sample for line in own}


def repeated(lines):
    return len(lines) - len({tuple(line[:2]) for line in lines})


TPM = np.round(tpm(8, 30), 4)
GENES = [f"ENSG{i:011d}.4" for i in range(30)]


def numbers_of(lines):
    """`[rows, samples]`; cells that are missing are NaN."""
    return np.array([[float(cell or "nan") for cell in line[1:]] for line in lines])


@SETTINGS
@given(damage, st.sampled_from(FILES), place)
def test_xena_matrices(changes, form, cut):
    table = damaged(matrix_text(TPM, GENES, barcodes(8)), "\t", changes)
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


@SETTINGS
@given(damage, st.sampled_from(FILES), place)
def test_porpoise_tables(changes, form, cut):
    text = porpoise_text(SCORES, [f"G{i}" for i in range(12)], CASES)
    table = damaged(text, ",", changes)
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


@SETTINGS
@given(damage, st.sampled_from(FILES), place, st.sampled_from([",", "\t", ";"]))
def test_label_tables(changes, form, cut, separator):
    types = ("BRCA", "LUAD", "KIRC")
    lines = [f"{c};{types[i % 3]};{i % 2}.0" for i, c in enumerate(CASES)]
    text = "\n".join(["case_id;cancer_type;TP53_mut", *lines])
    table = damaged(text, ";", changes)
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, "labels.csv", table, separator, form, cut)
        labels = attempt(read_labels, [path])
        if labels is None:
            return
        lines = lines_of(path, separator)[1:]
    listed = sum(what.startswith("line ") for what, _ in labels.unused)
    patients = {
        cell.upper() for line in lines for cell in line if "TCGA-" in cell.upper()
    }
    without = [line for line in lines if sum(map(bool, line)) < 2]
    assert len(patients) <= len(labels.table) + listed + len(without)
    conflicts = set(labels.conflicts["patient"])
    for patient, row in labels.table.iterrows():
        own = [line for line in lines if patient in [cell.upper() for cell in line]]
        words = {cell.upper() for line in own for cell in line}
        # pandas 3 turns None into NaN in a row of its own
        known = [row["cancer_type"]] if isinstance(row["cancer_type"], str) else []
        assert set(known) <= words or patient in conflicts


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_damage_changes_the_table(kind):
    text = porpoise_text(SCORES, [f"G{i}" for i in range(12)], CASES)
    assert damaged(text, ",", [(kind, 4, 6)]) != damaged(text, ",", [])
