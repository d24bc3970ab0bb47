"""A folder of STAR counts becomes rows; a bad file is skipped and named."""

import csv
import re

import numpy as np
import pytest
from tiny_rna import GENES, SAMPLES, STAR, star_folder, star_text, star_values

from pathjax.datasets.tcga.rna_star import parse_star, read_star
from pathjax.datasets.tcga.tables import TcgaError

# Places in GENES of the genes kept, and the one that its copy on Y is added to.
KEPT = [0, 1, 2, 3, 5]


def expected(seed):
    counts, tpm = (np.array(one, float) for one in star_values(seed))
    for values in (counts, tpm):
        values[1] += values[6]
    return counts[KEPT], np.log2(tpm[KEPT] + 1)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_counts_and_tpm(tmp_path, nested, packed):
    done = []
    table = read_star(
        star_folder(tmp_path, nested=nested, packed=packed),
        progress=lambda *state: done.append(state),
    )
    assert list(table.rna.obs["sample"]) == SAMPLES
    assert list(table.rna.obs["sample_type"]) == ["01", "01", "11"]
    assert set(table.rna.obs["project"]) == {"TCGA-LUAD"}
    for row in range(3):
        counts, x = expected(row)
        np.testing.assert_array_equal(table.rna.layers["counts"][row], counts)
        np.testing.assert_allclose(table.rna.X[row], x, rtol=1e-6)
    assert table.skipped == [] and done[-1] == (3, 3)
    assert (
        table.rna.X.dtype == np.float32 and table.rna.layers["counts"].dtype == np.int32
    )


def test_agrees_with_the_csv_module(tmp_path):
    path = tmp_path / f"a{STAR}"
    path.write_text(star_text(5))
    with open(path) as file:
        next(file)
        rows = [
            row
            for row in csv.DictReader(file, delimiter="\t")
            if row["gene_id"].startswith("ENSG")
        ]
    star = parse_star(path)
    assert star.genes["gene_id"].to_pylist() == [row["gene_id"] for row in rows]
    assert list(star.counts) == [int(row["unstranded"]) for row in rows]
    assert list(star.tpm) == [float(row["tpm_unstranded"]) for row in rows]


BAD = {
    "cut in a line": (lambda text: text[:-60], "cannot be read|sums to"),
    "cut at a line": (lambda text: text[: text.rindex("ENSG")], "sums to"),
    "no header": (lambda text: text.replace("gene_id", "g"), "lacks the columns gene_"),
    "commas": (lambda text: text.replace("\t", ","), "lacks the columns"),
    "empty": (lambda text: "", "lacks the columns"),
    "header only": (
        lambda text: text[: text.index("N_unm")],
        "no genes|cannot be read",
    ),
    "fraction": (lambda text: text.replace("\t0\t", ".5\t0\t"), "cannot be read"),
    "negative": (lambda text: text.replace("coding\t", "coding\t-"), "below 0"),
    "no count": (
        lambda text: text.replace(f"coding\t{star_values(1)[0][0]}\t", "coding\t\t"),
        "without a count",
    ),
    "gene twice": (
        lambda text: text.replace("002586.20", "002587.3"),
        "more than once",
    ),
    "other genes": (lambda text: text.replace("ENSG00000111640", "ENSG1"), "other gen"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_skipped(tmp_path, fault):
    change, reason = BAD[fault]
    star_folder(tmp_path, nested=False)
    path = tmp_path / f"uuid-1{STAR}"
    text = change(path.read_text())
    assert text != path.read_text()
    path.write_text(text)
    table = read_star(tmp_path)
    assert list(table.rna.obs["sample"]) == [SAMPLES[0], SAMPLES[2]]
    np.testing.assert_array_equal(table.rna.layers["counts"][1], expected(2)[0])
    np.testing.assert_allclose(table.rna.X[1], expected(2)[1], rtol=1e-6)
    [(what, why)] = table.skipped
    assert what == path.name
    assert re.search(reason, why), why


def test_the_first_file_may_be_the_bad_one(tmp_path):
    star_folder(tmp_path, nested=False)
    path = tmp_path / f"uuid-0{STAR}"
    path.write_text(path.read_text()[:-200])
    table = read_star(tmp_path)
    assert list(table.rna.obs["sample"]) == SAMPLES[1:]
    assert len(table.skipped) == 1  # named once


def test_files_and_rows_without_a_partner_are_listed(tmp_path):
    star_folder(tmp_path, nested=False)
    (tmp_path / f"uuid-0{STAR}").rename(tmp_path / f"stranger{STAR}")
    table = read_star(tmp_path)
    assert dict(table.skipped) == {
        f"stranger{STAR}": "not in the sample sheet",
        f"uuid-0{STAR}": "of TCGA-05-4244-01: in the sample sheet, not in the folder",
    }


def test_rows_of_other_files_in_the_sheet_are_listed(tmp_path):
    star_folder(tmp_path, nested=False)
    [sheet] = tmp_path.glob("gdc_*")
    line = sheet.read_text().splitlines()[1].replace(f"uuid-0{STAR}", "slide.svs")
    sheet.write_text(f"{sheet.read_text()}{line}\n")
    [(what, why)] = read_star(tmp_path).skipped
    assert what == "slide.svs" and "not STAR counts" in why


def test_all_genes_can_be_kept(tmp_path):
    table = read_star(star_folder(tmp_path), keep_all=True)
    assert "HOTAIR" in table.rna.var_names and table.rna.X.shape[1] == len(GENES) - 1


def test_no_sheet_and_no_good_file_are_errors(tmp_path):
    star_folder(tmp_path, nested=False)
    for path in tmp_path.glob(f"*{STAR}"):
        path.write_bytes(b"\x00\xff" * 100)
    with pytest.raises(
        TcgaError, match=r"no STAR-counts file of .* can be used(.|\n)*uuid-2"
    ):
        read_star(tmp_path)
    next(tmp_path.glob("gdc_*")).unlink()
    with pytest.raises(TcgaError, match="has no sample sheet"):
        read_star(tmp_path)
