import numpy as np
import pytest
from made_spots import MPP, picture, spots

from pathjax.data.images import decode_tile
from pathjax.data.study import Study, StudyError

SMALL = {"tile_px": 16, "tile_um": 32.0}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("memory") / "study"
    return Study.from_anndata(spots(), picture(), out, patient="P1", **SMALL)


def test_counts_places_and_tiles(study):
    adata = spots()
    names = [f"section_{name}" for name in adata.obs_names]
    expression = study.expression()[names]
    assert study.meta["provenance"]["samples"]["section"]["mpp"] == MPP
    np.testing.assert_array_equal(expression.layers["counts"].toarray(), adata.X)
    image = picture()
    row = study.tiles.set_index("tile_id").index.get_loc(names[20])
    x, y = adata.obsm["spatial"][20].astype(int)
    tile = decode_tile(study.tile_bytes([row])[0])
    around = image[y - 8 : y + 8, x - 8 : x + 8]
    assert np.abs(tile.mean(axis=(0, 1)) - around.mean(axis=(0, 1))).max() < 8


def test_there_and_back(study, tmp_path):
    """What `to_anndata` gives can be read again, and is what scanpy expects."""
    adata = study.to_anndata()
    assert list(adata.obs["zone"].cat.categories) == ["lower", "upper"]
    library = adata.uns["spatial"]["section"]
    hires, factors = library["images"]["hires"], library["scalefactors"]
    assert hires.shape[1] == pytest.approx(400 * factors["tissue_hires_scalef"], abs=1)
    assert factors["spot_diameter_fullres"] == pytest.approx(55 / MPP)
    adata.write_h5ad(tmp_path / "out.h5ad")
    again = Study.from_anndata(
        adata, picture(), tmp_path / "again", mpp=MPP, name="section", **SMALL
    )
    old, new = study.expression(), again.expression()
    np.testing.assert_array_equal(
        old.layers["counts"].toarray(), new.layers["counts"].toarray()
    )
    assert set(again.samples["patient_id"]) == {"P1"}
    np.testing.assert_array_equal(study.samples["pixel_x"], again.samples["pixel_x"])


def test_what_cannot_be_built_is_refused(tmp_path):
    adata = spots()
    with pytest.raises(StudyError, match="no full-resolution image"):
        Study.from_anndata(adata, None, tmp_path / "a", **SMALL)
    grey = picture()[..., 0]
    with pytest.raises(StudyError, match=r"image of section: expected an image"):
        Study.from_anndata(adata, grey, tmp_path / "b", **SMALL)
    with pytest.raises(StudyError, match="nothing was given for section S2: S1"):
        Study.from_anndata(
            {"S1": adata, "S2": adata}, {"S1": picture()}, tmp_path / "c", **SMALL
        )
    del adata.obs["array_row"]
    with pytest.raises(StudyError, match="micrometres per pixel unknown"):
        Study.from_anndata(adata, picture(), tmp_path / "d", **SMALL)
