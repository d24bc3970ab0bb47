from pathlib import Path

import pytest

from pathjax.datasets.spatial.manifest import SampleRow, read_manifest, rows_of
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError


def write(tmp_path, text):
    path = tmp_path / "samples.csv"
    path.write_text(text)
    return path


def test_columns_and_labels(tmp_path):
    path = write(
        tmp_path,
        "Sample,patient,Path,image,MPP,grade\nS1,P1,run1,a/slide.tif,0.5,G2\nS2,P1,run2,hires,,NA\n",
    )
    first, second = read_manifest(path)
    assert first == SampleRow(
        tmp_path / "run1",
        "S1",
        "P1",
        None,
        str(tmp_path / "a/slide.tif"),
        0.5,
        {"grade": "G2"},
    )
    assert (second.image, second.mpp, second.labels) == ("hires", None, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,patient\nS1,P1\n", "lacks the columns path"),
        ("sample,path\nS1,a\nS1,b\n", "sample S1 is named twice"),
        ("patient,path\nP1,a\n,b\n", "patient_id is empty in 1 of 2 rows"),
        ("patient,path\np1,a\nP1,b\n", "differ only by case"),
        ("path,mpp\na,half\n", "line 2: mpp is 'half', expected"),
        ("path,sample\n,S1\n", "line 2: path is empty"),
    ],
)
def test_refused(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(SpatialError, match=message):
        rows_of([], path, SpatialOptions())


def test_paths_or_a_manifest(tmp_path):
    path = write(tmp_path, "path,image\na,x.tif\nb,\n")
    with pytest.raises(SpatialError, match="got both or neither"):
        rows_of([Path("a")], path, SpatialOptions())
    with pytest.raises(SpatialError, match="got both or neither"):
        rows_of([], None, SpatialOptions())
    with pytest.raises(SpatialError, match="one image for 2 samples"):
        rows_of([Path("a"), Path("b")], None, SpatialOptions(image="x.tif"))
    rows = rows_of([], path, SpatialOptions(image="hires"))
    assert [row.image for row in rows] == [str(tmp_path / "x.tif"), "hires"]
