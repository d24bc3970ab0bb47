import numpy as np
import pandas as pd
import pytest
from made_xenium import CONTROLS, GENES, HE_MPP, make, to_he

from pathjax.datasets.spatial.build import build_spatial
from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.xenium import Xenium

READER = Xenium()


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "S1" / "outs")


def read(made, spot_um=50.0, **options):
    path = made.folder.parent
    assert isinstance(recognise(path), Xenium)
    return READER.read(path, SpatialOptions(spot_um=spot_um, **options))


def test_a_sample_per_cell(made):
    sample = read(made, spot_um=0.0)
    assert (sample.name, sample.technology) == ("S1", "Xenium")
    assert list(sample.counts.obs_names) == list(made.cells["cell_id"])
    np.testing.assert_array_equal(sample.counts.X.toarray(), made.counts)
    um = made.cells[["x_centroid", "y_centroid"]].to_numpy()
    np.testing.assert_allclose(sample.positions, to_he(um), atol=1e-6)
    assert sample.mpp == {"alignment matrix": pytest.approx(HE_MPP)}
    assert ("2 features", "Negative Control Probe, not Gene Expression") in (
        sample.left_out
    )


@pytest.mark.parametrize("csv", [False, True])
def test_transcripts_are_pooled_into_squares(tmp_path, csv):
    made = make(tmp_path / "S1" / "outs", csv=csv)
    sample = read(made)
    good = made.transcripts[
        (made.transcripts["qv"] >= 20) & made.transcripts["feature_name"].isin(GENES)
    ]
    place = np.floor(good[["x_location", "y_location"]] / 50).astype(int)
    names = [f"{x:03d}x{y:03d}" for x, y in place.to_numpy()]
    expected = pd.crosstab(np.array(names), good["feature_name"])[GENES]
    ours = pd.DataFrame(
        sample.counts.X.toarray(), sample.counts.obs_names, GENES
    ).sort_index()
    assert list(ours.index) == list(expected.index)
    np.testing.assert_array_equal(ours, expected)
    at = {name: (np.array(name.split("x"), int) + 0.5) * 50 for name in expected.index}
    centres = np.array([at[name] for name in sample.counts.obs_names])
    np.testing.assert_allclose(sample.positions, to_he(centres), atol=1e-6)
    assert sample.counts.obs["cells"].sum() == 120 and sample.spot_um == 50
    left_out = {reason: what for what, reason in sample.left_out}
    controls = made.transcripts["feature_name"].isin(CONTROLS)
    controls &= made.transcripts["qv"] >= 20
    counted = [left_out[f"no gene: {kind}"] for kind in ("NegControlProbe", "BLANK")]
    assert sum(int(what.split()[0]) for what in counted) == controls.sum()
    assert left_out["quality below 20 (qv)"] == "50 transcripts"


def test_without_transcripts_the_cells_counts_are_pooled(made):
    with_transcripts = read(made)
    (made.folder / "transcripts.parquet").unlink()
    sample = read(made)
    assert sample.counts.X.sum() == made.counts.sum()
    np.testing.assert_array_equal(sample.positions, with_transcripts.positions)
    assert ("transcripts outside cells", "transcripts.parquet is not there") in (
        sample.left_out
    )


def test_it_becomes_a_study(made, tmp_path):
    options = SpatialOptions(tile_px=16, spot_um=100.0)
    study = build_spatial([SampleRow(made.folder.parent)], tmp_path / "out", options)
    assert study.expression().layers["counts"].sum() > 0
    assert study.meta["provenance"]["samples"]["S1"]["technology"] == "Xenium"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("experiment.xenium", "lacks experiment.xenium: it has"),
        ("cell_feature_matrix.h5", "lacks cell_feature_matrix.h5"),
        ("cells.parquet", "lacks cells.parquet"),
        ("S1_he_image.png", r"expected one H&E image.*got 0.*fluorescence"),
        ("S1_he_imagealignment.csv", r"expected one alignment matrix.*got 0.*1,0,0"),
    ],
)
def test_a_missing_or_empty_file_is_named(made, name, message):
    path = made.folder / name
    path.unlink()
    with pytest.raises(SpatialError, match=message):
        read(made)
    if not name.startswith("S1"):
        path.touch()
        with pytest.raises(SpatialError, match=name):
            read(made)


def test_broken_tables_of_cells_and_transcripts(made):
    cells = made.folder / "cells.parquet"
    twice = pd.concat([made.cells, made.cells.iloc[:1]])
    twice.to_parquet(cells)
    with pytest.raises(SpatialError, match="has the cell aaaa0000-1 twice"):
        read(made)
    made.cells.drop(columns="x_centroid").to_parquet(cells)
    with pytest.raises(SpatialError, match="lacks the columns x_centroid; it has"):
        read(made)
    made.cells.assign(cell_id="other").iloc[:1].to_parquet(cells)
    with pytest.raises(SpatialError, match="no cell of the matrix has a position"):
        read(made)
    missing = made.cells.copy()
    missing.loc[:2, "x_centroid"] = np.nan
    missing.to_parquet(cells)
    left_out = read(made).left_out
    assert ("3 cells", "no position in the table of cells") in left_out
    path = made.folder / "transcripts.parquet"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(SpatialError, match=r"transcripts.parquet cannot be read"):
        read(made)
    with pytest.raises(SpatialError, match="--spot-um of 0 or more, got -5"):
        read(made, spot_um=-5.0)
