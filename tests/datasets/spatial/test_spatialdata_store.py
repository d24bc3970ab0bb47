"""Against the spatialdata library, which writes the stores and is the measure of them."""

import json
import shutil

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from made_spots import MPP, Visium, picture, save, spots
from PIL import Image

from pathjax.data.study import Study
from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.spatialdata_store import (
    SpatialDataStore,
    sample_of_spatialdata,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library's own making
READER = SpatialDataStore()
peer = pytest.mark.peer


def made(*, labels=False, reduced=False, shift=(0.0, 0.0)):
    """A store's content: spots at half their pixels, placed by transformations."""
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import (
        Image2DModel,
        Labels2DModel,
        ShapesModel,
        TableModel,
    )
    from spatialdata.transformations import Identity, Scale, Sequence, Translation

    move = Sequence(
        [Scale([2.0, 2.0], axes=("x", "y")), Translation(list(shift), axes=("x", "y"))]
    )
    image = Image2DModel.parse(
        picture(),
        dims=("y", "x", "c"),
        transformations={"global": Translation(list(shift), axes=("x", "y"))},
        scale_factors=None if reduced else [2],
    )
    adata = spots()
    xy = adata.obsm.pop("spatial")
    adata.obs["region"] = pd.Categorical(["spots"] * adata.n_obs)
    adata.obs["instance"] = np.arange(1, adata.n_obs + 1)
    shapes, rasters = {}, {}
    if labels:
        raster = np.zeros((400, 400), np.int32)
        for number, (x, y) in enumerate(xy.round().astype(int), start=1):
            raster[y - 3 : y + 4, x - 3 : x + 4] = number
        rasters["spots"] = Labels2DModel.parse(
            raster,
            dims=("y", "x"),
            transformations={"global": Translation(list(shift), axes=("x", "y"))},
        )
    else:
        # Not in the order of the table.
        order = np.random.default_rng(0).permutation(len(xy))
        shapes["spots"] = ShapesModel.parse(
            xy[order] / 2,
            geometry=0,
            radius=6.0,
            index=pd.Index(order + 1),
            transformations={"global": move, "own": Identity()},
        )
    table = TableModel.parse(
        adata, region="spots", region_key="region", instance_key="instance"
    )
    name = "S1_hires_image" if reduced else "he"
    return spatialdata.SpatialData(
        images={name: image}, labels=rasters, shapes=shapes, tables={"table": table}
    )


def read(sdata, **options):
    return sample_of_spatialdata(sdata, "S1", "memory", SpatialOptions(**options))


@peer
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1000.0, -300.0)])
def test_shapes_or_labels_are_placed_in_the_image(tmp_path, labels, shift):
    sdata = made(labels=labels, shift=shift)
    sdata.write(tmp_path / "S1.zarr")
    assert isinstance(recognise(tmp_path / "S1.zarr"), SpatialDataStore)
    sample = READER.read(tmp_path / "S1.zarr", SpatialOptions())
    adata = spots()
    np.testing.assert_array_equal(sample.counts.X.toarray(), adata.X)
    tolerance = 1.0 if labels else 1e-9  # labels are drawn on whole pixels
    np.testing.assert_allclose(sample.positions, Visium().xy, atol=tolerance)
    assert sample.image.size == (400, 400) and not sample.notes
    np.testing.assert_array_equal(sample.image.read(50, 60, 40, 30),
                                  picture()[60:90, 50:90])  # fmt: skip
    assert sample.mpp["spot pitch"] == pytest.approx(MPP, rel=0.02)
    assert list(sample.counts.obs) == ["array_row", "array_col", "zone"]


@peer
def test_a_study_from_an_object(tmp_path):
    study = Study.from_spatialdata(
        made(), tmp_path / "out", patient="P1", tile_px=16, tile_um=32.0
    )
    assert len(study.tiles) == 36 and set(study.samples["patient_id"]) == {"P1"}


def two_sections():
    """A store's content with one table of two sections, each with an own image."""
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import TableModel
    from spatialdata.transformations import Identity, set_transformation

    images, shapes, tables = {}, {}, []
    for number, name in enumerate(("A", "B")):
        one = made()
        image, place = one.images["he"], one.shapes["spots"]
        set_transformation(image, Identity(), name)
        set_transformation(place, Identity(), "global")
        images[f"{name}_image"], shapes[name] = image, place
        table = one.tables["table"].copy()
        del table.uns["spatialdata_attrs"]
        table.X = table.X + number
        table.obs["region"] = name
        tables.append(table)
    joined = anndata.concat(tables, merge="same", index_unique="-")
    joined.obs["region"] = pd.Categorical(joined.obs["region"])
    for name in ("A", "B"):  # the frame of the image is known by its own system only
        scale = get_scale()
        set_transformation(shapes[name], {"global": scale, name: scale}, set_all=True)
    table = TableModel.parse(
        joined, region=["A", "B"], region_key="region", instance_key="instance"
    )
    return spatialdata.SpatialData(
        images=images, shapes=shapes, tables={"table": table}
    )


def get_scale():
    from spatialdata.transformations import Scale

    return Scale([2.0, 2.0], axes=("x", "y"))


@peer
def test_a_table_of_several_elements_is_a_sample_for_each(tmp_path):
    sdata = two_sections()
    sdata.write(tmp_path / "S.zarr")
    paths = READER.samples(tmp_path / "S.zarr")
    assert paths == [tmp_path / "S.zarr" / "shapes" / name for name in ("A", "B")]
    for number, path in enumerate(paths):
        assert isinstance(recognise(path), SpatialDataStore)
        sample = READER.read(path, SpatialOptions())
        assert sample.name == f"S_{path.name}"
        assert sample.notes == (f"the image is {path.name}_image",)
        np.testing.assert_array_equal(sample.counts.X.toarray(), spots().X + number)
        np.testing.assert_allclose(sample.positions, Visium().xy)
    with pytest.raises(SpatialError, match=r"2 elements \(A, B\).*memory/shapes/A"):
        read(sdata)
    study = Study.from_spatialdata(
        {"S": sdata},
        tmp_path / "out",
        patient={"S_A": "P1", "S_B": "P2"},
        tile_px=16,
        tile_um=32.0,
    )
    patients = study.samples.groupby("slide_id")["patient_id"].unique()
    assert {name: list(own) for name, own in patients.items()} == {
        "S_A": ["P1"],
        "S_B": ["P2"],
    }


@peer
def test_one_of_several_tables_is_chosen_by_its_bin_size():
    sdata = made()
    table = sdata.tables["table"]
    del sdata.tables["table"]
    for size in ("002", "008"):
        sdata.tables[f"square_{size}um"] = table.copy()
    with pytest.raises(SpatialError, match="2 tables.*choose a bin size by --bin-um"):
        read(sdata)
    assert read(sdata, bin_um=8).spot_um == 8.0


@peer
def test_what_is_missing_is_named(tmp_path):
    sdata = made(reduced=True)
    with pytest.raises(SpatialError, match=r"only reduced images \(S1_hires_image\)"):
        read(sdata)
    assert read(sdata, image="hires").image.size == (400, 400)
    save(tmp_path / "full.png", picture())
    sample = read(sdata, image=str(tmp_path / "full.png"))
    np.testing.assert_allclose(sample.positions, Visium().xy)
    del sdata.images["S1_hires_image"]
    with pytest.raises(SpatialError, match=r"expected one colour image, got 0"):
        read(sdata)
    del sdata.tables["table"]
    with pytest.raises(SpatialError, match=r"no table that describes shapes or labels"):
        read(sdata)


@peer
def test_an_image_elsewhere_and_a_table_without_shapes(tmp_path):
    from spatialdata.transformations import Identity, set_transformation

    sdata = made()
    set_transformation(sdata.images["he"], {"elsewhere": Identity()}, set_all=True)
    with pytest.raises(SpatialError, match="share no coordinate system: global, own"):
        read(sdata)
    sdata = made()
    sdata.tables["table"].obs["instance"] += 500
    with pytest.raises(SpatialError, match="instance names no shape"):
        read(sdata)


@peer
def test_spatialdata_io_and_the_visium_reader_agree(real_data, tmp_path):
    """One folder, read here as Visium, and by spatialdata-io into a store."""
    io = pytest.importorskip("spatialdata_io")
    folder = real_data / "spatial_formats" / "visium_v1"
    options = SpatialOptions(image="hires")
    ours = recognise(folder).read(folder, options)
    theirs = read(io.visium(folder, dataset_id="V1"), image="hires")
    assert set(theirs.counts.obs_names) >= set(ours.counts.obs_names)
    place = theirs.counts.obs_names.get_indexer(ours.counts.obs_names)
    np.testing.assert_allclose(theirs.positions[place], ours.positions, atol=0.6)
    np.testing.assert_array_equal(
        theirs.counts.X[place].sum(axis=1), ours.counts.X.sum(axis=1)
    )
    assert theirs.counts.n_vars == ours.counts.n_vars
    np.testing.assert_array_equal(
        theirs.image.read(900, 900, 20, 20), ours.image.read(900, 900, 20, 20)
    )


@peer
def test_spatialdata_io_and_the_visium_hd_reader_agree(real_data, tmp_path):
    """The real bins of 8 um: counts and places of each.

    Those of 16 um have barcodes without a position, which spatialdata-io does not take.
    """
    bin_um = 8
    io = pytest.importorskip("spatialdata_io")
    real = real_data / "spatial_formats" / "visium_hd"
    folder = shutil.copytree(real, tmp_path / "HD")
    factors = f"binned_outputs/square_{bin_um:03d}um/spatial"
    shutil.copytree(folder / factors, folder / "spatial")
    for path in (folder / "spatial").glob("*.png"):  # it expects RGB
        Image.open(path).convert("RGB").save(path)
    with h5py.File(folder / "feature_slice.h5", "w") as file:  # where its version is
        layout = json.dumps({"file_format": "1.0"})
        file.attrs["metadata_json"] = json.dumps({"hd_layout_json": layout})
    sdata = io.visium_hd(
        folder, dataset_id="", bin_size=bin_um, load_segmentations_only=False
    )
    theirs = sdata.tables[f"square_{bin_um:03d}um"]
    options = SpatialOptions(image="hires", bin_um=bin_um)
    ours = recognise(real).read(real, options)
    names = ours.counts.obs_names
    assert names.isin(theirs.obs_names).all() and len(names) > 100
    theirs = theirs[names]
    assert theirs.n_vars == ours.counts.n_vars
    assert (scipy.sparse.csr_matrix(theirs.X) != ours.counts.X).nnz == 0
    factor = json.loads((real / factors / "scalefactors_json.json").read_text())
    places = theirs.obsm["spatial"] * factor["tissue_hires_scalef"]
    np.testing.assert_allclose(ours.positions, places, atol=0.5)


def test_a_store_without_a_table_is_refused_before_the_library_is_needed(tmp_path):
    """Case 16: a folder with the names only."""
    store = tmp_path / "sample.zarr"
    (store / "images" / "he").mkdir(parents=True)
    (store / ".zgroup").touch()
    assert isinstance(recognise(store), SpatialDataStore)
    with pytest.raises(SpatialError, match=r"no table of counts \(tables/\): it has"):
        READER.read(store, SpatialOptions())
