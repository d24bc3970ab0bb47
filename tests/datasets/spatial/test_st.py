import gzip
import shutil

import numpy as np
import pandas as pd
import pytest
from made_spots import picture, save

from pathjax.data.check import check_study
from pathjax.datasets.spatial.build import build_spatial
from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.st import Her2st, SpotTables

OPTIONS = SpatialOptions(tile_px=16)


@pytest.fixture(scope="module")
def few_genes(real_data, tmp_path_factory):
    """The two sections of mouse brain with 20 of their 1,000 genes."""
    folder = tmp_path_factory.mktemp("mob")
    for path in (real_data / "mob_mouse").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name in ("MOB1", "MOB2"):
        rewrite(folder / f"{name}.tsv.gz", lambda lines: [row[:21] for row in lines])
    return folder


@pytest.fixture
def mob(few_genes, tmp_path):
    """A copy of it to break."""
    return shutil.copytree(few_genes, tmp_path / "mob")


@pytest.mark.slow
def test_two_sections_of_mouse_brain(real_data):
    """Read as pandas reads the tables; the scale is that of STUtility's 141 um."""
    mob = real_data / "mob_mouse"
    known = recognise(mob)
    assert isinstance(known, SpotTables)
    assert [path.name for path in known.samples(mob)] == ["MOB1.tsv.gz", "MOB2.tsv.gz"]
    sample = known.read(mob / "MOB1.tsv.gz", OPTIONS)
    counts = pd.read_csv(mob / "MOB1.tsv.gz", sep="\t", index_col=0)
    spots = pd.read_csv(mob / "alignment_table_MOB1.tsv", sep="\t")
    spots = spots[spots["selected"] == 1]
    spots.index = [f"{x}x{y}" for x, y in zip(spots["x"], spots["y"], strict=True)]
    names = sample.counts.obs_names
    assert set(names) == set(counts.index) & set(spots.index) and len(names) == 379
    np.testing.assert_array_equal(sample.counts.X.toarray(), counts.loc[names])
    np.testing.assert_array_equal(
        sample.positions, spots.loc[names, ["pixel_x", "pixel_y"]]
    )
    assert sample.counts.var["gene_id"].iloc[0] == "ENSMUSG00000064339"
    assert sample.organism == "mouse"
    assert sample.mpp["spot pitch"] == pytest.approx(141 / 32.34, rel=0.01)
    why = "alignment_table_MOB1.tsv marks it as outside the tissue"
    assert ("1689 spots", why) in sample.left_out


@pytest.mark.slow
def test_mouse_brain_becomes_a_study_split_by_section(mob, tmp_path):
    study = build_spatial([SampleRow(mob)], tmp_path / "out", OPTIONS)
    assert len(study.samples) == 379 + 407 and study.expression().n_vars == 20
    assert study.split("patients").folds.keys() == {"train", "test"}
    assert check_study(study).problems == ()


def rewrite(path, change):
    """Changes the lines of a table, each a list of fields."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        lines = [line.rstrip("\n").split("\t") for line in file]
    with opened(path, "wt") as file:
        file.write("\n".join("\t".join(line) for line in change(lines)) + "\n")


def swapped(lines):
    return [line[:4] + [line[5], line[4], line[6]] for line in lines]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("MOB1.jpg", None, r"one image with MOB1 in its name, got 0 \(MOB2.jpg\)"),
        ("alignment_table_MOB1.tsv", None, "one spot table or transformation with MOB1 in its name"),
        (
            "MOB1.tsv.gz",
            lambda lines: [["", *(r[0] for r in lines[1:9])],
                           *([g, *"12345678"] for g in lines[0])],
            "line 2: expected a spot.*the table is transposed",
        ),
        (
            "MOB1.tsv.gz",
            lambda lines: [*lines, lines[1]],
            "has a spot more than once",
        ),
        (
            "MOB1.tsv.gz",
            lambda lines: [lines[0], [lines[1][0], "0.5", *lines[1][2:]]],
            "whole counts",
        ),
        (
            "alignment_table_MOB1.tsv",
            lambda lines: [lines[0], *swapped(lines[1:])],
            "array is mirrored in the image",
        ),
        (
            "alignment_table_MOB1.tsv",
            lambda lines: [lines[0], *([*r[:4], "NA", "NA", r[6]] for r in lines[1:])],
            "no usable spot",
        ),
    ],
)  # fmt: skip
def test_broken_tables_say_so(mob, file, change, message):
    if change is None:
        (mob / file).unlink()
    else:
        rewrite(mob / file, change)
    with pytest.raises(Exception, match=message) as caught:
        SpotTables().read(mob / "MOB1.tsv.gz", OPTIONS)
    assert isinstance(caught.value, SpatialError | ValueError)


def stahl(folder, matrix="40 0 0 0 41 0 -60 -50 1"):
    """Files as on the web page of Stahl et al.: measured positions, nine numbers."""
    rng = np.random.default_rng(0)
    places = [(x + rng.uniform(-0.2, 0.2), y) for x in range(2, 8) for y in range(3, 8)]
    lines = ["\tApod\tPenk\tMbp"]
    for x, y in places:
        lines.append("\t".join([f"{x:.3f}x{y}", *map(str, rng.integers(1, 9, 3))]))
    (folder / "Rep1_MOB_count_matrix-1.tsv").write_text("\n".join(lines) + "\n")
    (folder / "rep1_MOB_transformation.txt").write_text(matrix + "\n")
    save(folder / "HE_Rep1_MOB.jpg", picture())
    return np.array([(round(x, 3), y) for x, y in places])


@pytest.mark.parametrize(
    "matrix", ["40 0 0 0 41 0 -60 -50 1", "40 0 -60 0 41 -50 0 0 1"]
)
def test_stahls_own_files_are_placed_by_their_transformation(tmp_path, matrix):
    places = stahl(tmp_path, matrix)
    known = recognise(tmp_path)
    assert isinstance(known, SpotTables)
    (path,) = known.samples(tmp_path)
    sample = known.read(path, OPTIONS)
    assert sample.name == "Rep1_MOB" and sample.image.path.name == "HE_Rep1_MOB.jpg"
    np.testing.assert_allclose(sample.positions, places * [40, 41] - [60, 50])
    assert sample.mpp == {"spot pitch": pytest.approx(200 / np.sqrt(40 * 41))}
    assert sample.sample_ids[0] == f"Rep1_MOB_{places[0][0]:g}x3"
    assert list(sample.counts.obs.iloc[0]) == [3, 2]


def test_a_degenerate_transformation_is_refused(tmp_path):
    stahl(tmp_path, "40 0 0 0 0 0 -60 -50 1")
    with pytest.raises(SpatialError, match=r"transformation.txt: expected.*one point"):
        SpotTables().read(tmp_path / "Rep1_MOB_count_matrix-1.tsv", OPTIONS)
    (tmp_path / "rep1_MOB_transformation.txt").unlink()
    with pytest.raises(SpatialError, match="is of no known format"):
        recognise(tmp_path)


def test_her2st_is_recognised(real_data):
    root = real_data / "her2st"
    known = recognise(root)
    assert isinstance(known, Her2st)
    path = root / "data" / "ST-cnts" / "A1.tsv.gz"
    assert path in known.samples(root) and known.samples(path) == [path]
    assert known.read(path, OPTIONS).patient == "A"
