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


def write(path, obs=OBS, rows=3, texts=("s",)):
    x = np.arange(2.0 * rows, dtype=np.float32).reshape(rows, 2)
    write_annotated(
        path,
        iter([x[:2], x[2:]]),
        iter([obs[:1], obs[1:]]),
        VAR,
        count=len(OBS),
        texts={"slide_id": texts},
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
    np.testing.assert_array_equal(
        read_columns(path, [1], np.array([2, 0])), x[[2, 0], 1:]
    )


@pytest.mark.parametrize("ids", [list("bab"), ["s10", "s2", "s10"], list("cab")])
def test_the_table_is_the_one_that_anndata_writes(tmp_path, ids):
    obs = OBS.assign(slide_id=ids, n=[1, 2, 3], known=[True, False, True])
    write(tmp_path / "p.h5ad", obs, texts=sorted(set(ids)))
    anndata.AnnData(obs=obs, var=VAR).write_h5ad(tmp_path / "whole.h5ad")
    got, whole = (anndata.read_h5ad(tmp_path / f"{n}.h5ad").obs for n in ("p", "whole"))
    pd.testing.assert_frame_equal(got, whole)


def test_places_that_nobody_knows_are_left_out(tmp_path):
    write(tmp_path / "p.h5ad", OBS.assign(x=np.nan))
    assert "spatial" not in anndata.read_h5ad(tmp_path / "p.h5ad").obsm


def test_too_few_rows_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="expected 3 rows.*got 2"):
        write(tmp_path / "p.h5ad", rows=2)
    with pytest.raises(ValueError, match="expected a table of 3 tiles, got 2"):
        write(tmp_path / "p.h5ad", OBS[:2])
    assert not list(tmp_path.iterdir())
