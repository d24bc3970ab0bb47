"""Cohorts from a study with embedding files, and from tables alone."""

import anndata
import numpy as np
import pandas as pd
import pytest

from pathjax.data.text_store import TextEmbeddings, TextError, write_text
from pathjax.embeddings.embedding_file import write_embeddings
from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.sources import from_study, from_tables


@pytest.fixture(scope="module")
def files(tiny_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    features = np.random.default_rng(0).normal(size=(len(tiny_study), 5))
    write_embeddings(
        folder / "slide.h5", tiny_study, features.astype(np.float32), {"model": "m"}
    )
    ids = tiny_study.samples["sample_id"].tolist()[::-1][:8]
    values = np.arange(16, dtype=np.float32).reshape(8, 2)
    meta = {"backend": "b", "model": "m"}
    write_text(folder / "text.h5", TextEmbeddings(ids, values, meta))
    return folder, features, ids


def test_a_study_with_all_three(tiny_study, files):
    folder, features, ids = files
    got = from_study(tiny_study, slide=folder / "slide.h5", text=folder / "text.h5")
    assert list(got.modalities) == ["slide", "rna", "text"]
    assert set(got.targets) == {"group", "latent"}  # not the tiles'
    sample = got.samples["sample_id"].tolist()
    tiles = tiny_study.tiles["sample_id"].to_numpy()
    slide = got.modalities["slide"]
    np.testing.assert_allclose(
        slide.values[3], features[tiles == sample[3]].mean(axis=0), atol=1e-6
    )
    text = got.modalities["text"]
    assert len(text) == 8
    assert [sample[row] for row in text.rows] == sorted(ids)
    np.testing.assert_array_equal(text.at(text.rows[-1:])[0], [0, 1])
    expected = tiny_study.expression()[sample[2]].X
    np.testing.assert_allclose(got.modalities["rna"].values[2], np.ravel(expected))
    assert got.notes == ()
    assert got.provenance["slide"]["file"] == "slide.h5"


def test_texts_of_others_are_refused(tiny_study, files, tmp_path):
    meta = {"backend": "b", "model": "m"}
    write_text(
        tmp_path / "t.h5", TextEmbeddings(["X"], np.ones((1, 2), np.float32), meta)
    )
    with pytest.raises(TextError, match="none of 12 samples"):
        from_study(tiny_study, text=tmp_path / "t.h5")


@pytest.fixture
def tables(tmp_path):
    """Four patients: one with two samples, one of normal tissue alone."""
    names = [
        "TCGA-AA-0001-06",
        "TCGA-AA-0001-01",
        "TCGA-AA-0002-01",
        "TCGA-AA-0003-11",
        "TCGA-AA-0004-01",
    ]
    obs = pd.DataFrame(
        {
            "case_id": [name[:12] for name in names],
            "sample_type": [name[13:] for name in names],
            "aliquot": "",
        },
        index=names,
    )
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    var = pd.DataFrame(index=["A", "B", "C"])
    anndata.AnnData(x, obs, var).write_h5ad(tmp_path / "rna.h5ad")
    (tmp_path / "labels.csv").write_text(
        "patient_id,cancer_type,tp53\n"
        "TCGA-AA-0001,LUAD,mutated\nTCGA-AA-0002,LUSC,\nTCGA-AA-0004,,wild type\n"
    )
    return tmp_path


def test_tables_without_slides(tables):
    got = from_tables(tables / "rna.h5ad", [tables / "labels.csv"])
    assert got.samples["sample_id"].tolist() == [f"TCGA-AA-000{i}" for i in (1, 2, 4)]
    # The primary tumour, not the metastasis; no normal tissue.
    np.testing.assert_array_equal(got.modalities["rna"].values[:, 0], [3, 6, 12])
    assert got.samples["lung"].tolist()[:2] == ["LUAD", "LUSC"]
    assert set(got.targets) == {"cancer_type", "tp53", "lung"}
    assert got.samples["tp53"].isna().tolist() == [False, True, False]
    assert got.notes == ()
    text = (tables / "labels.csv").read_text()
    (tables / "labels.csv").write_text(text + "TCGA-AA-0009,LUAD,\n")
    (note,) = from_tables(tables / "rna.h5ad", [tables / "labels.csv"]).notes
    assert note == (
        "1 patients of the labels have no RNA and are left out: TCGA-AA-0009"
    )
    (tables / "more.csv").write_text(
        "patient_id,lung,PAM50 class\nTCGA-AA-0001,LUSC,\nTCGA-AA-0002,what,\n"
        "TCGA-AA-0004,LUAD,LumA\n"
    )
    both = [tables / "labels.csv", tables / "more.csv"]
    unused, conflicts, _ = from_tables(tables / "rna.h5ad", both).notes
    assert unused.startswith("2 parts of the labels are not used: line 3 of more.csv")
    assert "column PAM50 class of more.csv" in unused
    assert conflicts.endswith("files disagree are left empty: TCGA-AA-0001 lung")


def test_frozen_rna_is_taken_before_ffpe(tables):
    data = anndata.read_h5ad(tables / "rna.h5ad")
    data.obs["case_id"], data.obs["sample_type"] = "TCGA-AA-0001", "01"
    data.obs["aliquot"] = [f"{i}" for i in range(5)]
    data.obs["preservation"] = ["FFPE", "FFPE", "Frozen", "", "OCT"]
    data.write_h5ad(tables / "several.h5ad")
    got = from_tables(tables / "several.h5ad", [tables / "labels.csv"])
    np.testing.assert_array_equal(got.modalities["rna"].values[:, 0], [6])


@pytest.mark.filterwarnings("ignore:Observation names")
def test_rna_of_others_and_twice_is_said(tables, tiny_study):
    expression = tiny_study.expression()
    data = anndata.AnnData(expression.X, expression.obs.copy(), expression.var.copy())
    names = ["X", *data.obs_names[1:]]
    data.obs_names = names
    data.write_h5ad(tables / "other.h5ad")
    (note,) = from_study(tiny_study, rna=tables / "other.h5ad").notes
    assert note.startswith("1 rows of") and note.endswith("left out: X")
    data.obs_names = [names[1], *names[1:]]
    data.write_h5ad(tables / "twice.h5ad")
    with pytest.raises(ModalityError, match="1 ids occur twice, first P01"):
        from_study(tiny_study, rna=tables / "twice.h5ad")
    with pytest.raises(ModalityError, match="whose rows lack case_id"):
        from_tables(tables / "other.h5ad", [tables / "labels.csv"])


def test_rna_without_tumours_is_refused(tables):
    data = anndata.read_h5ad(tables / "rna.h5ad")
    data[data.obs["sample_type"] == "11"].copy().write_h5ad(tables / "n.h5ad")
    with pytest.raises(ModalityError, match="no tumour sample"):
        from_tables(tables / "n.h5ad", [tables / "labels.csv"])


@pytest.mark.slow
def test_rna_tells_lung_cancers_apart_on_real_data(real_data, tmp_path):
    from pathjax.datasets.tcga.rna import read_rna, write_rna
    from pathjax.modalities.run import Options, run

    folder = real_data / "tcga_bulk"
    write_rna(read_rna(folder), tmp_path / "rna.h5ad")
    labels = [*(real_data / "tcga_slide_labels").glob("*.csv*"), *folder.glob("*.csv*")]
    cohort = from_tables(tmp_path / "rna.h5ad", labels)
    asked = [cohort.question("lung")]
    (cell,) = run(cohort, asked, tmp_path / "out", Options(folds=3))["cells"]
    assert cell["n"] > 850
    # Near its ceiling in every published table: lower is a fault here.
    assert cell["scores"]["auroc"]["value"] > 0.98
