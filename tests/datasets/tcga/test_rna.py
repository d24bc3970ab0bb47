"""Kinds of files by content, joining, history, the command line."""

import json

import anndata
import numpy as np
import pytest
from tiny_rna import (
    SAMPLES,
    STAR,
    barcodes,
    matrix_text,
    porpoise_text,
    star_folder,
    star_values,
    tpm,
)

from pathjax.cli import main
from pathjax.data.study import sha256
from pathjax.datasets.tcga.rna import read_rna, skipped_of, write_rna
from pathjax.datasets.tcga.tables import TcgaError

TPM = tpm(6, 50)
IDS = [f"ENSG{i:011d}.4" for i in range(50)]
NORMAL = np.random.default_rng(3).normal(size=(44, 30))
CASES = [f"TCGA-05-{4000 + i}" for i in range(44)]


def matrix(path, values=TPM, ids=IDS, columns=None):
    path.write_text(matrix_text(values, ids, columns or barcodes(len(values))))
    return path


def test_star_folder_with_its_history(tmp_path):
    source = star_folder(tmp_path / "gdc")
    write_rna(read_rna(source), tmp_path / "rna.h5ad")
    rna = anndata.read_h5ad(tmp_path / "rna.h5ad")
    assert list(rna.obs_names) == SAMPLES
    assert rna.X.dtype == np.float32 and rna.layers["counts"].dtype == np.int32
    assert rna.layers["counts"][1, 0] == star_values(1)[0][0]
    assert rna["TCGA-05-4244-01A", "TP53"].X.item() == pytest.approx(
        np.log2(star_values(0)[1][0] + 1)
    )
    history = rna.uns["pathjax"]
    assert history["x"] == "log2(TPM+1)" and history["units"] == "TPM"
    assert history["genes"] == {
        "rows": 7,
        "kept": 5,
        "added_par_y": 1,
        "not_protein_coding": 1,
    }
    assert len(history["notes"]) == 0 and skipped_of(rna) == []
    first = history["files"].iloc[0]
    assert first["sha256"] == sha256(source / "id-0" / f"uuid-0{STAR}")
    assert first["bytes"] == (source / "id-0" / f"uuid-0{STAR}").stat().st_size


def test_aliquots_of_one_sample_are_kept_apart(tmp_path):
    source = star_folder(tmp_path / "gdc", [SAMPLES[0], SAMPLES[0]])
    assert list(read_rna(source).obs_names) == [f"{SAMPLES[0]}#1", f"{SAMPLES[0]}#2"]
    aliquots = [f"{SAMPLES[0]}-{i}1R-1107-07" for i in (2, 1)]
    (source / "metadata.cart.json").write_text(
        json.dumps(
            [
                {
                    "file_name": f"uuid-{i}{STAR}",
                    "associated_entities": [{"entity_submitter_id": one}],
                }
                for i, one in enumerate(aliquots)
            ]
        )
    )
    rna = read_rna(source)
    assert list(rna.obs_names) == sorted(aliquots) == list(rna.obs["aliquot"])
    assert rna.layers["counts"][0, 0] == star_values(1)[0][0]


def test_files_of_a_folder_are_joined_by_gene(tmp_path):
    matrix(tmp_path / "TCGA-LUAD.star_tpm.tsv")
    columns = [f"TCGA-18-{3400 + i}-01" for i in range(6)]
    matrix(tmp_path / "TCGA-LUSC.star_tpm.tsv", TPM[:, ::-1], IDS[::-1], columns)
    (tmp_path / "readme.md").write_text("nothing")
    (tmp_path / ".hidden").write_text("nothing")
    rna = read_rna(tmp_path)
    assert list(rna.obs["project"]) == ["TCGA-LUAD"] * 6 + ["TCGA-LUSC"] * 6
    np.testing.assert_allclose(rna.X[:6], np.log2(TPM + 1), atol=1e-4)
    np.testing.assert_array_equal(rna.X[6:], rna.X[:6])
    [skipped] = skipped_of(rna)
    assert skipped["what"] == "readme.md" and "is neither" in skipped["reason"]
    with pytest.raises(TcgaError, match=r"1 samples, genes or files .*\n.*readme"):
        read_rna(tmp_path, strict=True)


def test_genes_that_a_file_lacks_are_dropped_and_counted(tmp_path):
    names = [f"G{i}" for i in range(30)]
    for cohort, genes, cases in (
        ("luad", names, CASES[:22]),
        ("lusc", [*names[:28], "H1", "H2"], CASES[22:]),
    ):
        values = NORMAL[:22] if cohort == "luad" else NORMAL[22:]
        (tmp_path / f"tcga_{cohort}.csv").write_text(
            porpoise_text(values, genes, cases)
        )
    rna = read_rna(tmp_path)
    assert list(rna.var_names) == names[:28] and rna.n_obs == 44
    np.testing.assert_allclose(rna.X, NORMAL[:, :28], atol=5.1e-5)
    history = rna.uns["pathjax"]
    assert history["genes"] == {"rows": 30, "kept": 28, "not_in_all_files": 4}
    assert history["z_scored_within"] == "cohort"


def test_mean_normalised_values_only_with_units(tmp_path):
    values = NORMAL * np.linspace(0.1, 4, 30)
    path = matrix(tmp_path / "HiSeqV2_PANCAN", values, [f"G{i}" for i in range(30)])
    with pytest.raises(TcgaError, match="is mean-normalised.*--units mean-normalised"):
        read_rna(path)
    rna = read_rna(path, units="mean-normalised")
    assert "less the gene's mean" in rna.uns["pathjax"]["x"]


def test_files_that_cannot_be_joined(tmp_path):
    matrix(tmp_path / "a.tsv")
    matrix(tmp_path / "HiSeqV2.tsv", np.log2(TPM * 20 + 1))
    with pytest.raises(TcgaError, match=r"different scales.*norm_count"):
        read_rna(tmp_path)
    (tmp_path / "HiSeqV2.tsv").unlink()
    matrix(tmp_path / "b.tsv", ids=[f"G{i}" for i in range(50)])
    with pytest.raises(TcgaError, match="no gene is common"):
        read_rna(tmp_path)


def test_bad_arguments(tmp_path):
    with pytest.raises(TcgaError, match="does not exist"):
        read_rna(tmp_path / "absent")
    with pytest.raises(TcgaError, match="holds no file"):
        read_rna(tmp_path)
    with pytest.raises(TcgaError, match="expected one of tpm, fpkm.*got 'TPM'"):
        read_rna(tmp_path, units="TPM")
    with pytest.raises(TcgaError, match="--sample-sheet is for STAR counts"):
        read_rna(matrix(tmp_path / "a.tsv"), sample_sheet="sheet.tsv")
    with pytest.raises(TcgaError, match="leave --units out"):
        read_rna(star_folder(tmp_path), units="tpm")
    with pytest.raises(TcgaError, match=r"expected a name that ends in \.h5ad"):
        write_rna(None, tmp_path / "rna")


def counts_text(names, extra, samples=6):
    """200 genes, then `extra` rows of the same count in every sample, by name."""
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.poisson(200, (samples, 200)),
            np.tile([count for _, count in extra], (samples, 1)),
        ],
        axis=1,
    )
    genes = [f"GENE{i}" for i in range(200)] + [name for name, _ in extra]
    return matrix_text(values, genes, names or barcodes(samples), "%d")


DATES = [("1-Mar", 100), ("1-Mar", 7), ("2-Mar", 50), ("9-Sep", 11), ("43891", 2)]


def test_gene_names_that_a_spreadsheet_changed(tmp_path, capsys):
    """MARCH1 and MARC1 are both 1-Mar: they are named, and not added."""
    path = tmp_path / "counts.tsv"
    path.write_text(counts_text(None, [*DATES, ("MARCH2", 3)]))
    rna = read_rna(path)
    assert list(rna.var_names[-2:]) == ["GENE199", "MARCH2"]
    assert {one["what"] for one in skipped_of(rna)} == {
        *("gene 1-Mar", "gene 2-Mar", "gene 9-Sep", "gene 43891")
    }
    assert rna.uns["pathjax"]["genes"]["changed_by_spreadsheet"] == 5
    assert not any("added" in note for note in rna.uns["pathjax"]["notes"])
    # They still count towards the total of a sample.
    total = 170 + 3 + rna.layers["counts"][0, :200].sum()
    assert rna.X[0, -1] == pytest.approx(np.log1p(3 * 1e4 / total))
    words = ["data", "tcga-rna", "--source", str(path), "--out"]
    assert main([*words, str(tmp_path / "r.h5ad")]) == 0
    assert "skipped gene 1-Mar: counts.tsv: a spreadsheet" in capsys.readouterr().out
    assert main([*words, str(tmp_path / "s.h5ad"), "--strict"]) == 1


def test_a_gene_with_equal_rows_is_not_doubled(tmp_path):
    path = tmp_path / "counts.tsv"
    path.write_text(counts_text(None, [("TTL", 40), ("TTL", 40), ("A", 1), ("A", 2)]))
    rna = read_rna(path)
    assert rna.layers["counts"][0, -2:].tolist() == [40, 3]
    genes = rna.uns["pathjax"]["genes"]
    assert genes["repeated_equal"] == 1 and genes["added_repeated"] == 1
    notes = " ".join(rna.uns["pathjax"]["notes"])
    assert "1 rows repeat a gene and its values and were dropped: TTL" in notes
    assert (
        "1 genes have several rows with different values, which were added: A" in notes
    )


def test_barcodes_with_dots_as_r_writes_them(tmp_path):
    names = [name.replace("-", ".") for name in barcodes(6)]
    (tmp_path / "r.tsv").write_text(counts_text(names, []))
    assert list(read_rna(tmp_path / "r.tsv").obs_names) == barcodes(6)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.log2(np.log2(TPM + 1) + 1), r"log2\(x\+1\) of log2\(x\+1\) of TPM"),
        (np.log1p(TPM), "look like log1p of TPM"),
        (np.log10(TPM + 1), "look like log10"),
    ],
)
@pytest.mark.parametrize("units", [None, "log2-tpm-1"])
def test_another_logarithm_than_the_file_name_says(tmp_path, values, reason, units):
    path = matrix(tmp_path / "TCGA-LUAD.star_tpm.tsv", values)
    with pytest.raises(TcgaError, match=reason):
        read_rna(path, units=units)


def ffpe_folder(root):
    """Two frozen samples, one FFPE by the sheet and one by its vial."""
    samples = [SAMPLES[0], SAMPLES[1], "TCGA-05-4249-01B", "TCGA-05-4250-01Z"]
    source = star_folder(root, samples)
    [sheet] = source.glob("gdc_sample_sheet*")
    head, *rows = sheet.read_text().splitlines()
    kept = ["OCT", "Frozen", "FFPE", "Unknown"]
    lines = [f"{head}\tPreservation Method"]
    lines += [f"{row}\t{word}" for row, word in zip(rows, kept, strict=True)]
    sheet.write_text("\n".join(lines) + "\n")
    return source, samples


def test_ffpe_samples_are_left_out_and_counted(tmp_path, capsys):
    source, samples = ffpe_folder(tmp_path / "gdc")
    rna = read_rna(source, strict=True)
    assert list(rna.obs_names) == samples[:2]
    assert list(rna.obs["preservation"]) == ["OCT", "Frozen"]
    assert [one["what"] for one in skipped_of(rna)] == [
        f"uuid-{i}{STAR}" for i in (2, 3)
    ]
    note = "2 FFPE samples were left out; --ffpe reads them too"
    assert note in rna.uns["pathjax"]["notes"]
    words = ["data", "tcga-rna", "--source", str(source), "--out"]
    assert main([*words, str(tmp_path / "r.h5ad"), "--strict"]) == 0
    assert note in capsys.readouterr().out
    assert main([*words, str(tmp_path / "r.h5ad"), "--ffpe"]) == 0
    rna = anndata.read_h5ad(tmp_path / "r.h5ad")
    assert list(rna.obs_names) == samples and rna.uns["pathjax"]["skipped"].empty


def test_ffpe_columns_of_a_matrix(tmp_path):
    columns = [*barcodes(5), "TCGA-05-4001-01Z"]
    path = matrix(tmp_path / "m.tsv", columns=columns)
    rna = read_rna(path)
    assert rna.n_obs == 5 and skipped_of(rna)[0]["what"] == columns[5]
    assert read_rna(path, ffpe=True).n_obs == 6


def test_vials_of_unknown_preservation_are_noted(tmp_path):
    source = star_folder(tmp_path / "gdc", ["TCGA-05-4249-01A", "TCGA-05-4249-01B"])
    [note] = read_rna(source).uns["pathjax"]["notes"]
    assert "1 samples have several vials" in note and "Preservation Method" in note


def test_command(tmp_path, capsys):
    source = star_folder(tmp_path / "gdc")
    (source / "id-1" / f"uuid-1{STAR}").write_text("junk")
    words = ["data", "tcga-rna", "--source", str(source), "--out"]
    out = tmp_path / "rna.h5ad"
    assert main([*words, str(out)]) == 0
    text = capsys.readouterr().out
    assert f"{out}: 2 samples, 5 genes, log2(TPM+1)" in text
    assert f"skipped uuid-1{STAR}: " in text
    assert main([*words, str(tmp_path / "no.h5ad"), "--strict"]) == 1
    assert f"uuid-1{STAR}" in capsys.readouterr().err
    assert not (tmp_path / "no.h5ad").exists()


def test_all_real_cohorts_together(real_data):
    rna = read_rna(real_data / "tcga_bulk")
    assert rna.shape == (4070, 1535)  # counted with pandas
    assert rna.obs["case_id"].is_unique and rna.obs_names.is_unique
    assert rna.uns["pathjax"]["genes"]["not_in_all_files"] == 23
    assert {"TP53", "ERBB2", "EGFR"} <= set(rna.var_names)
    # Scored within cohorts, so that no cohort's genes are far from 0.
    for rows in rna.obs.groupby("project").indices.values():
        assert abs(np.median(rna.X[rows].mean(axis=0))) < 0.15
