"""The AnnData on disk: what was given comes back, laid out as scanpy reads it."""

import anndata
import numpy as np
import pandas as pd
import pytest

from pathjax.predict.annotated import read_columns, spatial_entry, write_annotated
from pathjax.predict.maps import Picture

OBS = pd.DataFrame(
    {"slide_id": "s", "x": [1.0, 2.0, 3.0], "y": [4.0, 5.0, 6.0]},
    index=["a", "b", "c"],
)
VAR = pd.DataFrame({"symbol": ["A", "B"]}, index=["A", "B"])
PICTURE = Picture(np.full((4, 6, 3), 200, np.uint8), 0.5, "made")


def write(path, obs=OBS, rows=3):
    x = np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2)
    write_annotated(
        path,
        iter([x[:2], x[2:]]),
        obs,
        VAR,
        spatial={"s": spatial_entry(PICTURE, 8.0)},
        about={"unit": "u", "panel": ["A", "B"], "nothing": None},
    )
    return x


def test_it_comes_back(tmp_path):
    path = tmp_path / "p.h5ad"
    x = write(path)
    got = anndata.read_h5ad(path)
    np.testing.assert_array_equal(got.X, x)
    assert got.obs_names.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(got.obsm["spatial"], [[1, 4], [2, 5], [3, 6]])
    one = got.uns["spatial"]["s"]
    np.testing.assert_array_equal(one["images"]["hires"], PICTURE.pixels)
    assert one["scalefactors"] == {
        "tissue_hires_scalef": 0.5,
        "spot_diameter_fullres": 8.0,
    }
    assert got.uns["pathjax"]["panel"].tolist() == ["A", "B"]
    assert got.uns["pathjax"]["nothing"] == "unknown"
    np.testing.assert_array_equal(read_columns(path, [1]), x[:, 1:])


def test_places_that_nobody_knows_are_left_out(tmp_path):
    write(tmp_path / "p.h5ad", OBS.assign(x=np.nan))
    assert "spatial" not in anndata.read_h5ad(tmp_path / "p.h5ad").obsm


def test_too_few_rows_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="expected 3 rows.*got 2"):
        write(tmp_path / "p.h5ad", rows=2)
    assert not list(tmp_path.iterdir())
