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
    with pytest.raises(TcgaError, match=r"1 samples or files .*\n.*readme\.md"):
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
    with pytest.raises(TcgaError, match="leave --units out"):
        read_rna(star_folder(tmp_path), units="tpm")
    with pytest.raises(TcgaError, match=r"expected a name that ends in \.h5ad"):
        write_rna(None, tmp_path / "rna")


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
