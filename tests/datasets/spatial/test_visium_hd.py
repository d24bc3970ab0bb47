import json

import anndata
import numpy as np
import pytest
from made_visium import GENES, HD_MPP, write_visium_hd

from pathjax.datasets.spatial import tenx
from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_visium_hd(tmp_path_factory.mktemp("hd") / "H1", 24, 2)
    return write_visium_hd(root, 6, 8)


def read(path, **options) -> anndata.AnnData:
    return recognise(path).read(path, SpatialOptions(**options))


def test_bins_under_tissue(folder):
    sample = read(folder, bin_um=8)
    assert sample.name == "H1" and sample.technology == "Visium HD"
    assert sample.counts.shape == (30, GENES)  # the first row is not in tissue
    assert sample.counts.obs_names[0] == "s_008um_00001_00000-1"
    np.testing.assert_allclose(sample.positions[:2], [[300, 684], [316, 684]])
    assert sample.mpp == pytest.approx(dict.fromkeys(sample.mpp, HD_MPP))
    assert list(sample.mpp) == ["scale factors", "bin size", "bin pitch"]
    assert sample.spot_um == 8 and sample.left_out == (
        ("6 barcodes", "no position under tissue"),
    )


def test_the_folder_of_one_size(folder):
    path = folder / "binned_outputs" / "square_002um"
    sample = read(path)
    assert sample.name == "H1" and sample.spot_um == 2
    assert sample.counts.n_obs == 23 * 24


@pytest.mark.parametrize("at_once", [20_000_000, 50])
def test_pooled_from_the_smallest_bins(folder, monkeypatch, at_once):
    """Counts are sums, places the middles of whole squares, partial ones included."""
    monkeypatch.setattr(tenx, "READ_AT_ONCE", at_once)
    small, pooled = read(folder, bin_um=2), read(folder, bin_um=6)
    array = small.counts.obs.to_numpy() // 3
    for name, row in pooled.counts.obs.iterrows():
        inside = (array == row.to_numpy()).all(axis=1)
        assert name == f"s_006um_{row['array_row']:05d}_{row['array_col']:05d}"
        assert inside.sum() == (6 if row["array_row"] == 0 else 9)
        np.testing.assert_array_equal(
            pooled.counts[name].X.toarray()[0],
            np.asarray(small.counts.X[inside].sum(axis=0))[0],
        )
    assert pooled.counts.n_obs == 64 and pooled.spot_um == 6
    # Bins 0 to 2 of row and column: their middle is bin 1, 4 px from the first.
    np.testing.assert_allclose(pooled.positions[0], [304, 696])
    assert pooled.mpp["bin pitch"] == pytest.approx(HD_MPP)


def test_sizes_that_cannot_be_had(folder, tmp_path):
    with pytest.raises(SpatialError, match="--bin-um 7: expected 2 um, 8 um, or a mul"):
        read(folder, bin_um=7)
    other = write_visium_hd(tmp_path / "H2", 6, 8)
    with pytest.raises(
        SpatialError, match=r"has bins of 8 um, not of 16 um.*square_002um"
    ):
        read(other, bin_um=16)
    assert read(other).spot_um == 8


def test_scale_factors_of_other_bins(folder, tmp_path):
    root = write_visium_hd(tmp_path / "H3", 6, 8)
    path = root / "binned_outputs/square_008um/spatial/scalefactors_json.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bin_size_um": 16.0}))
    with pytest.raises(
        SpatialError, match="says bins of 16 um, the folder square_008um"
    ):
        read(root)


def test_real_bins(real_data):
    """The 16 um bins read; the 8 um ones have the positions of another grid."""
    folder = real_data / "spatial_formats" / "visium_hd"
    sample = read(folder, bin_um=16, image="lowres")
    mpp = dict(sample.mpp)
    assert mpp["bin pitch"] == pytest.approx(mpp["scale factors"], rel=1e-3)
    assert sample.mpp["scale factors"] == pytest.approx(0.27376 / 0.025404353, rel=1e-4)
    wrong = read(folder, bin_um=8, image="lowres").mpp
    assert wrong["bin pitch"] == pytest.approx(wrong["scale factors"] / 2, rel=1e-3)
