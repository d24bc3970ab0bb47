import gzip
import shutil

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from made_visium import GENES, MPP, counts, density, spots, write_h5, write_visium

from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError


@pytest.fixture
def folder(tmp_path):
    return write_visium(tmp_path / "S1")


def read(path, **options):
    return recognise(path).read(path, SpatialOptions(**options))


def test_reads_spots_counts_and_scale(folder):
    sample = read(folder)
    barcodes, array, xy = spots()
    assert (sample.name, sample.technology, sample.organism) == (
        "S1",
        "Visium",
        "human",
    )
    assert list(sample.counts.obs_names) == barcodes
    np.testing.assert_array_equal(
        sample.counts.X.toarray(), counts(density(), xy).astype(np.float32)
    )
    np.testing.assert_allclose(sample.positions, xy, atol=5e-4)
    np.testing.assert_array_equal(
        sample.counts.obs[["array_row", "array_col"]].to_numpy(), array
    )
    assert sample.counts.var["symbol"].iloc[3] == "GENE3"
    assert sample.counts.var["gene_id"].iloc[3] == "ENSG00000000003"
    assert sample.mpp == pytest.approx(
        {"spot pitch": MPP, "scale factors": MPP}, rel=1e-4
    )
    assert sample.image.path == folder / "slide.png" and sample.left_out == ()


def test_space_ranger_1_and_the_folder_around_outs(tmp_path):
    write_visium(tmp_path / "S1" / "outs", header=False)
    (tmp_path / "S1" / "outs" / "slide.png").rename(tmp_path / "S1" / "slide.png")
    for path in (tmp_path / "S1", tmp_path / "S1" / "outs"):
        sample = read(path)
        assert sample.name == "S1" and sample.counts.n_obs == 320


def test_mtx_folder_equals_h5(folder):
    sample = read(folder)
    mtx = folder / "filtered_feature_bc_matrix"
    mtx.mkdir()
    with gzip.open(mtx / "matrix.mtx.gz", "wb") as file:
        scipy.io.mmwrite(file, scipy.sparse.coo_matrix(sample.counts.X.T.astype(int)))
    with gzip.open(mtx / "barcodes.tsv.gz", "wt") as file:
        file.write("\n".join(sample.counts.obs_names) + "\n")
    with gzip.open(mtx / "features.tsv.gz", "wt") as file:
        for name, row in sample.counts.var.iterrows():
            file.write(f"{name}\t{row['symbol']}\tGene Expression\n")
    (folder / "filtered_feature_bc_matrix.h5").unlink()
    other = read(folder)
    assert (other.counts.X != sample.counts.X).nnz == 0
    assert other.counts.var.equals(sample.counts.var)
    np.testing.assert_array_equal(other.positions, sample.positions)


def test_other_features_and_spots_without_a_partner_are_left_out_and_counted(folder):
    barcodes, _, xy = spots()
    matrix = counts(density(), xy)[2:]
    kinds = ["Gene Expression"] * (GENES - 3) + ["Antibody Capture"] * 3
    path = folder / "filtered_feature_bc_matrix.h5"
    write_h5(
        path, np.vstack([matrix, matrix[:1]]), [*barcodes[2:], "AC-9"], kinds=kinds
    )
    sample = read(folder)
    assert sample.counts.shape == (318, GENES - 3)
    assert sample.left_out == (
        ("3 features", "Antibody Capture, not Gene Expression"),
        ("1 barcodes", "no position under tissue"),
        ("2 spots in tissue", "not in the matrix"),
    )


def test_the_reduced_image_only_if_asked_for(folder):
    (folder / "slide.png").unlink()
    with pytest.raises(
        SpatialError, match=r"no full-resolution image \(it has only hires"
    ):
        read(folder)
    sample = read(folder, image="hires")
    assert sample.image.size == (575, 425)
    np.testing.assert_allclose(sample.positions, spots()[2] / 2, atol=5e-4)
    assert sample.mpp == pytest.approx(
        {"spot pitch": 2 * MPP, "scale factors": 2 * MPP}, rel=1e-4
    )


def test_several_images_are_not_chosen_from(folder):
    shutil.copy(folder / "slide.png", folder / "other.png")
    with pytest.raises(SpatialError, match=r"\(other.png, slide.png\): name one"):
        read(folder)
    assert read(folder, image=str(folder / "other.png")).image.path.name == "other.png"


REAL = {
    "visium_v1": (2695, 100, 132231),
    "visium_cytassist_mouse": (2898, 19465, 3085005),
    "visium_scanpy/1.0.0": (100, 100, 932),
}


@pytest.mark.parametrize("name", REAL)
def test_real_samples(real_data, name):
    folder = real_data / "spatial_formats" / name
    picture = folder / "spatial" / "detected_tissue_image.jpg"
    sample = read(folder, image=str(picture) if picture.exists() else "hires")
    spots, genes, total = REAL[name]
    assert sample.counts.shape == (spots, genes)
    assert sample.counts.X.sum() == total
