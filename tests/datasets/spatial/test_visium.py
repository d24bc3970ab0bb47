import gzip
import json
import shutil

import numpy as np
import pandas as pd
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


# As scanpy reads them: spots, genes, counts; and pixels of the full-resolution image of
# the first, the middle and the last spot.
REAL = {
    "visium_v1": (
        (2695, 100, 132231),
        [(8501, 7475), (7331, 9511), (3338, 6877)],
    ),
    "visium_scanpy/1.0.0": (
        (100, 100, 932),
        [(9811, 8513), (9743, 8872), (9113, 4445)],
    ),
    "visium_cytassist_mouse": (
        (2898, 19465, 3085005),
        [
            (329.3797661493501, 2056.5365322449743),
            (767.9051073190184, 1740.7220760670498),
            (757.2632660861694, 1684.9154056183795),
        ],
    ),
}


def read_real(real_data, name):
    """The sample, and its image's pixels per pixel of the full-resolution one."""
    folder = real_data / "spatial_formats" / name
    picture = folder / "spatial" / "detected_tissue_image.jpg"
    if picture.exists():
        return read(folder, image=str(picture)), 1.0
    factors = json.loads((folder / "spatial/scalefactors_json.json").read_text())
    return read(folder, image="lowres"), factors["tissue_lowres_scalef"]


@pytest.mark.parametrize("name", REAL)
def test_real_samples(real_data, name):
    sample, factor = read_real(real_data, name)
    sizes, pixels = REAL[name]
    assert (*sample.counts.shape, sample.counts.X.sum()) == sizes
    rows = [0, sample.counts.n_obs // 2, -1]
    np.testing.assert_allclose(sample.positions[rows] / factor, pixels, rtol=1e-12)
    # Pitch and fiducials agree within 1 %.
    assert np.ptp(list(sample.mpp.values())) < 0.01 * min(sample.mpp.values())


def test_probes_are_refused(real_data):
    with pytest.raises(SpatialError, match="counts probes, not genes"):
        read(real_data / "spatial_formats" / "visium_scanpy" / "2.1.0")


@pytest.mark.peer
@pytest.mark.parametrize("name", REAL)
def test_scanpy_reads_the_same(real_data, name):
    scanpy = pytest.importorskip("scanpy")
    folder = real_data / "spatial_formats" / name
    sample, factor = read_real(real_data, name)
    h5 = folder / "filtered_feature_bc_matrix.h5"
    if h5.exists():
        theirs = scanpy.read_10x_h5(h5)
        genes = theirs.var["gene_ids"]
    else:
        theirs = scanpy.read_10x_mtx(h5.with_suffix(""), var_names="gene_ids")
        genes = theirs.var_names
    assert sample.counts.shape == theirs.shape
    ours = sample.counts[theirs.obs_names]
    assert abs(ours.X - theirs.X).sum() == 0
    assert list(ours.var_names) == list(genes)
    path = next((folder / "spatial").glob("tissue_positions*"))
    header = 0 if path.name == "tissue_positions.csv" else None
    table = pd.read_csv(path, header=header, index_col=0)
    pixels = table.loc[sample.counts.obs_names].to_numpy()[:, [4, 3]]
    np.testing.assert_allclose(sample.positions / factor, pixels, rtol=1e-12)
