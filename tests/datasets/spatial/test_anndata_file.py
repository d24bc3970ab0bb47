import shutil

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from made_spots import MPP, picture, save, spots

from pathjax.datasets.spatial.anndata_file import AnnDataFile, sample_of
from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.visium import Visium

READER = AnnDataFile()


@pytest.fixture
def slide(tmp_path):
    save(tmp_path / "slide.png", picture())
    return str(tmp_path / "slide.png")


# Of versions: both choose theirs by settings that are to go.
writes_zarr = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore:.*removed in 0.14:DeprecationWarning"
)


def read(adata, tmp_path, image=None):
    path = tmp_path / "S1.h5ad"
    adata.write_h5ad(path)
    assert READER.recognises(path)
    return READER.read(path, SpatialOptions(image=image))


def in_memory(adata, image):
    return sample_of(adata, "S1", "memory", SpatialOptions(image=image))


def test_a_file_of_scanpy_is_read(tmp_path, slide):
    adata = spots()
    sample = read(adata, tmp_path, slide)
    assert (sample.name, sample.technology, sample.organism) == (
        "S1",
        "Visium",
        "human",
    )
    np.testing.assert_array_equal(sample.counts.X.toarray(), adata.X)
    np.testing.assert_array_equal(sample.positions, adata.obsm["spatial"])
    assert sample.mpp == {"spot pitch": pytest.approx(MPP)} and sample.spot_um == 55
    assert list(sample.counts.var["gene_id"]) == list(adata.var["gene_ids"])
    assert list(sample.counts.var["symbol"]) == list(adata.var_names)
    assert sample.sample_ids[0] == "S1_AAAC0000-1"
    assert list(sample.counts.obs) == ["array_row", "array_col", "zone"]


@writes_zarr
@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_folder_is_read_as_the_file_is(tmp_path, slide, version):
    pytest.importorskip("zarr", minversion="3.0")
    adata = spots()
    adata.X = scipy.sparse.csr_matrix(adata.X)
    expected = read(adata, tmp_path, slide)
    path = tmp_path / "S1.zarr"
    with anndata.settings.override(zarr_write_format=version):
        adata.write_zarr(path)
    assert isinstance(recognise(path), AnnDataFile)
    sample = READER.read(path, SpatialOptions(image=slide))
    assert sample.sample_ids == expected.sample_ids and sample.mpp == expected.mpp
    np.testing.assert_array_equal(sample.positions, expected.positions)
    assert (sample.counts.X != expected.counts.X).nnz == 0
    pd.testing.assert_frame_equal(sample.counts.var, expected.counts.var)
    pd.testing.assert_frame_equal(sample.counts.obs, expected.counts.obs)
    for array in ("X/data", "X/indices", "obsm/spatial"):
        damaged = tmp_path / f"{array.replace('/', '_')}.zarr"
        shutil.copytree(path, damaged)
        chunk = next(
            file for file in (damaged / array).rglob("[0c]*") if file.is_file()
        )
        chunk.unlink()  # Zarr would read it as zeros
        with pytest.raises(SpatialError, match=rf"{array} lacks 1 of 1 chunks"):
            READER.read(damaged, SpatialOptions(image=slide))


@writes_zarr
def test_a_missing_chunk_of_a_dense_matrix_is_told(tmp_path, slide):
    zarr = pytest.importorskip("zarr", minversion="3.0")
    adata = spots()
    with anndata.settings.override(zarr_write_format=3):
        adata.write_zarr(tmp_path / "S1.zarr")
    whole = READER.read(tmp_path / "S1.zarr", SpatialOptions(image=slide))
    assert not whole.notes
    store = zarr.open_group(tmp_path / "S1.zarr")
    attributes = dict(store["X"].attrs)
    rows = store.create_array(
        "X", data=adata.X, chunks=(len(adata) // 2, 6), overwrite=True
    )
    rows.attrs.update(attributes)
    zarr.consolidate_metadata(store.store)
    next((tmp_path / "S1.zarr" / "X" / "c" / "1").iterdir()).unlink()
    sample = READER.read(tmp_path / "S1.zarr", SpatialOptions(image=slide))
    assert any("X lacks 1 of " in note for note in sample.notes), sample.notes


@pytest.mark.parametrize("place", ["layer", "raw"])
def test_counts_are_found_beside_normalised_values(tmp_path, slide, place):
    adata = spots()
    counts = adata.X.copy()
    if place == "layer":
        adata.layers["counts"] = scipy.sparse.csr_matrix(counts)
    else:
        adata.raw = adata.copy()
        adata = adata[:, :5].copy()  # as scanpy keeps the variable genes
    adata.X = np.log1p(adata.X)
    sample = read(adata, tmp_path, slide)
    np.testing.assert_array_equal(sample.counts.X.toarray(), counts)


def test_normalised_values_alone_are_refused_by_name(tmp_path, slide):
    adata = spots()
    adata.X = np.log1p(adata.X)
    with pytest.raises(
        SpatialError, match=r"X holds values that are not whole.*layers"
    ):
        read(adata, tmp_path, slide)
    adata.layers["counts"] = adata.X - 1
    with pytest.raises(SpatialError, match=r"layers\['counts'\] holds negative values"):
        read(adata, tmp_path, slide)


def test_spots_without_tissue_or_position_are_left_out_by_number(tmp_path, slide):
    adata = spots()
    adata.obs.loc[adata.obs_names[:2], "in_tissue"] = 0
    adata.obsm["spatial"][5] = np.nan
    sample = read(adata, tmp_path, slide)
    assert len(sample.positions) == adata.n_obs - 3
    assert ("1 spots", "their position is no number") in sample.left_out
    assert ("2 spots", "not in tissue (in_tissue 0)") in sample.left_out
    adata.obsm["spatial"][:] = np.nan
    with pytest.raises(SpatialError, match="no spot in tissue has a position"):
        read(adata, tmp_path, slide)


def test_positions_that_contradict_each_other_are_refused(tmp_path, slide):
    adata = spots()
    x, y = adata.obsm["spatial"].T
    adata.obs["pxl_col_in_fullres"], adata.obs["pxl_row_in_fullres"] = y, x
    with pytest.raises(SpatialError, match="x and y are swapped in one of them"):
        read(adata, tmp_path, slide)
    adata.obs["pxl_col_in_fullres"], adata.obs["pxl_row_in_fullres"] = 4 * x, 4 * y
    with pytest.raises(SpatialError, match="the second is about 0.25 times the first"):
        read(adata, tmp_path, slide)
    del adata.obsm["spatial"]
    sample = read(adata, tmp_path, slide)
    np.testing.assert_allclose(sample.positions, 4 * np.column_stack([x, y]))


def test_several_sections_or_patients_in_one_file_are_refused(tmp_path, slide):
    adata = spots()
    adata.uns["spatial"] = {"one": {}, "other": {}}
    with pytest.raises(SpatialError, match="2 libraries"):
        read(adata, tmp_path, slide)
    adata = spots()
    adata.obs["patient"] = np.where(np.arange(adata.n_obs) % 2, "P1", "P2")
    with pytest.raises(SpatialError, match=r"column patient has 2 values \(P1, P2\)"):
        read(adata, tmp_path, slide)
    adata.obs["patient"] = "P1"
    assert read(adata, tmp_path, slide).patient == "P1"


def test_files_that_are_no_such_thing(tmp_path, slide):
    adata = spots()
    path = tmp_path / "S1.h5ad"
    adata.write_h5ad(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert READER.recognises(path)
    with pytest.raises(SpatialError, match=r"S1.h5ad cannot be read as AnnData"):
        READER.read(path, SpatialOptions(image=slide))
    del adata.obsm["spatial"]
    with pytest.raises(SpatialError, match=r"no positions: expected obsm\['spatial'\]"):
        read(adata, tmp_path, slide)
    adata = spots()
    adata.obs_names = ["same"] * adata.n_obs
    with pytest.raises(SpatialError, match="35 barcodes occur twice: same"):
        in_memory(adata, slide)


def test_genes_of_other_writers_are_recognised(tmp_path, slide):
    adata = spots(genes=3)
    adata.var = pd.DataFrame(
        {"feature_name": ["A", "B", "C"]},
        index=["ENSMUSG00000000001.4", "ENSMUSG00000000002.1", "ENSMUSG00000000003"],
    )
    sample = in_memory(adata, slide)
    assert list(sample.counts.var["symbol"]) == ["A", "B", "C"]
    assert sample.counts.var["gene_id"].iloc[0] == "ENSMUSG00000000001"
    assert sample.organism == "mouse"
    adata.var = pd.DataFrame(index=["A", "B", "C"])
    sample = in_memory(adata, slide)
    assert list(sample.counts.var["symbol"]) == ["A", "B", "C"]
    assert set(sample.counts.var["gene_id"]) == {""} and sample.organism is None


def test_a_gene_listed_twice_keeps_both_columns(tmp_path, slide):
    adata = spots(genes=3)
    adata.var = pd.DataFrame(index=["A", "TBCE", "TBCE_"])
    names = adata.var_names.to_numpy().copy()
    names[2] = "TBCE"
    adata.var_names = names
    path = tmp_path / "S1.h5ad"
    adata.write_h5ad(path)
    sample = READER.read(path, SpatialOptions(image=slide))
    assert list(sample.counts.var["symbol"]) == ["A", "TBCE", "TBCE"]
    assert list(sample.counts.var_names) == ["A", "TBCE", "TBCE-1"]


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
def test_scanpys_file_of_a_real_slide_is_what_the_visium_reader_reads(
    real_data, tmp_path
):
    scanpy = pytest.importorskip("scanpy")
    folder = real_data / "spatial_formats" / "visium_v1"
    options = SpatialOptions(image="hires")
    ours = Visium().read(folder, options)
    scanpy.read_visium(folder, library_id="V1").write_h5ad(tmp_path / "V1.h5ad")
    theirs = READER.read(tmp_path / "V1.h5ad", options)
    names = ours.counts.obs_names
    place = theirs.counts.obs_names.get_indexer(names)
    assert set(names) == set(theirs.counts.obs_names)
    np.testing.assert_array_equal(theirs.positions[place], ours.positions)
    assert theirs.mpp["spot pitch"] == pytest.approx(ours.mpp["spot pitch"])
    assert set(theirs.counts.var["gene_id"]) == set(ours.counts.var["gene_id"])
    genes = theirs.counts.var["gene_id"].tolist()
    order = [ours.counts.var["gene_id"].tolist().index(gene) for gene in genes[:50]]
    np.testing.assert_array_equal(
        theirs.counts.X[place][:, :50].toarray(), ours.counts.X[:, order].toarray()
    )
    assert theirs.counts.X.sum() == ours.counts.X.sum()
    np.testing.assert_array_equal(
        theirs.image.read(500, 500, 40, 40), ours.image.read(500, 500, 40, 40)
    )


def test_swapped_positions_of_visium_are_noticed(slide):
    adata = spots()
    adata.obsm["spatial"] = adata.obsm["spatial"][:, ::-1]
    (note,) = in_memory(adata, slide).notes
    assert "x and y may be swapped" in note
