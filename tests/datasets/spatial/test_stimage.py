import numpy as np
import pandas as pd
import pytest
from made_spots import MPP, Visium, picture, save

from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.stimage import STimage

READER = STimage()
OPTIONS = SpatialOptions()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "Visium"
    xy = Visium().xy
    names = [f"Lung_1_AAA{i}" for i in range(len(xy))]
    rng = np.random.default_rng(0)
    # A symbol may be listed twice, and rows are not in step.
    counts = pd.DataFrame(rng.poisson(2, (len(xy), 4)), names, list("ABC") + ["A"])
    coordinates = pd.DataFrame(
        {"yaxis": xy[:, 1], "xaxis": xy[:, 0], "r": 16.25}, index=names
    )
    for kind in ("coord", "gene_exp"):
        (folder / kind).mkdir(parents=True)
    counts.to_csv(folder / "gene_exp" / "Lung_1_count.csv")
    coordinates.iloc[::-1].to_csv(folder / "coord" / "Lung_1_coord.csv")
    save(folder / "image" / "Lung_1.png", picture())
    return folder


def read(root):
    assert isinstance(recognise(root), STimage)
    (path,) = READER.samples(root)
    return READER.read(path, OPTIONS)


def test_a_slide(root):
    sample = read(root)
    assert (sample.name, sample.technology, sample.spot_um) == ("Lung_1", "Visium", 55)
    np.testing.assert_allclose(sample.positions, Visium().xy)
    table = pd.read_csv(root / "gene_exp" / "Lung_1_count.csv", index_col=0)
    np.testing.assert_array_equal(sample.counts.X.toarray(), table)
    assert list(sample.counts.var["symbol"]) == ["A", "B", "C", "A"]
    assert sample.sample_ids[3] == "Lung_1_AAA3"
    assert sample.mpp == {"spot pitch": pytest.approx(MPP, rel=0.01)}


def test_the_scale_is_unknown_without_the_technologys_folder(root):
    other = root.rename(root.parent / "slides")
    assert read(other).mpp == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gene_exp/Lung_1_count.csv", "", "count.csv is empty"),
        (
            "gene_exp/Lung_1_count.csv",
            ",A\nLung_1_AAA1,x\n",
            "cannot be read as a table",
        ),
        ("gene_exp/Lung_1_count.csv", ",A\nother,1\n", "no spot in common: other"),
        ("coord/Lung_1_coord.csv", "", "coord.csv cannot be read"),
        ("coord/Lung_1_coord.csv", ",x,y\na,1,2\n", "lacks the columns xaxis, yaxis"),
        (
            "coord/Lung_1_coord.csv",
            ",yaxis,xaxis\nLung_1_AAA1,1,2\nLung_1_AAA1,1,2\n",
            "names the spot Lung_1_AAA1 twice",
        ),
        (
            "coord/Lung_1_coord.csv",
            ",yaxis,xaxis\nLung_1_AAA1,,2\n",
            "no position of a",
        ),
        ("coord/Lung_1_coord.csv", None, "coord.csv does not exist"),
        ("image/Lung_1.png", None, r"expected one image Lung_1.png, got 0"),
    ],
)
def test_broken_files_are_named(root, name, content, message):
    (root / name).unlink()
    if content is not None:
        (root / name).write_text(content)
    with pytest.raises(SpatialError, match=message):
        read(root)
