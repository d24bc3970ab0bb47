"""Damaged and mistaken inputs: each an error or a warning that names what is wrong."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.io
from extras import need
from made_visium import (
    MPP,
    SIZE,
    counts,
    density,
    picture,
    spots,
    write_h5,
    write_visium,
    write_visium_hd,
)
from PIL import Image

from pathjax.data.study import StudyError
from pathjax.datasets.spatial.build import build_spatial
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions

MATRIX = "filtered_feature_bc_matrix.h5"
POSITIONS = "spatial/tissue_positions.csv"
FACTORS = "spatial/scalefactors_json.json"
X, Y = "pxl_col_in_fullres", "pxl_row_in_fullres"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return write_visium(tmp_path_factory.mktemp("sound") / "S1")


@pytest.fixture
def folder(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "S1")


def build(*rows, out, **options):
    rows = [row if isinstance(row, SampleRow) else SampleRow(row) for row in rows]
    return build_spatial(rows, out, SpatialOptions(tile_px=8, **options))


def positions(folder, change):
    table = pd.read_csv(folder / POSITIONS)
    change(table)
    table.to_csv(folder / POSITIONS, index=False)


def factors(folder, **values):
    path = folder / FACTORS
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def rewrite(folder, matrix, barcodes=None, **columns):
    (folder / MATRIX).unlink()
    write_h5(folder / MATRIX, matrix, barcodes or spots()[0], **columns)


def own_counts():
    return counts(density(), spots()[2])


def to_mtx(folder):
    mtx = folder / "filtered_feature_bc_matrix"
    mtx.mkdir()
    matrix = scipy.sparse.coo_matrix(own_counts().T)
    scipy.io.mmwrite(mtx / "matrix.mtx", matrix)
    (mtx / "barcodes.tsv").write_text("\n".join(spots()[0]) + "\n")
    (mtx / "features.tsv").write_text("".join(f"E{i}\tG{i}\n" for i in range(30)))
    (folder / MATRIX).unlink()
    return mtx


def transpose(folder):
    matrix = scipy.sparse.csc_matrix(own_counts())
    import h5py

    with h5py.File(folder / MATRIX, "a") as file:
        group = file["matrix"]
        for name in ("data", "indices", "indptr", "shape"):
            del group[name]
        group["data"], group["indices"] = matrix.data, matrix.indices
        group["indptr"], group["shape"] = matrix.indptr, np.array(matrix.shape)


def transpose_mtx(folder):
    mtx = to_mtx(folder)
    scipy.io.mmwrite(mtx / "matrix.mtx", scipy.sparse.coo_matrix(own_counts()))


def truncate(path, share=0.5):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def swap(table):
    table[[X, Y]] = table[[Y, X]].to_numpy()


def shuffle(table):
    order = np.random.default_rng(0).permutation(len(table))
    table[[X, Y]] = table[[X, Y]].to_numpy()[order]


def without_reduced(folder):
    (folder / "spatial" / "tissue_hires_image.png").unlink()


def hires_as_full(folder):
    shutil.copy(folder / "spatial/tissue_hires_image.png", folder / "slide.png")


def reduced_alone(folder):
    hires_as_full(folder)
    without_reduced(folder)


def turned(folder):
    with Image.open(folder / "slide.png") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(folder / "slide.png")


def tagged(folder):
    need("openslide")
    (folder / "slide.png").unlink()
    image = Image.fromarray(picture(density()))
    image.save(folder / "slide.tif", resolution_unit=3, resolution=10_000 / (MPP * 1.1))


ERRORS = {
    "no matrix": (
        lambda f: (f / MATRIX).unlink(),
        "lacks filtered_feature_bc_matrix.h5",
    ),
    "probes only": (
        lambda f: (f / MATRIX).rename(f / "raw_probe_bc_matrix.h5"),
        "has only raw_probe_bc_matrix.h5, which counts probes",
    ),
    "no positions": (
        lambda f: (f / POSITIONS).unlink(),
        r"lacks the positions \(tissue_positions.parquet",
    ),
    "no scale factors": (
        lambda f: (f / FACTORS).unlink(),
        "lacks scalefactors_json.json",
    ),
    "no image": (
        lambda f: (f / "slide.png").unlink(),
        "no full-resolution image.*or use the reduced one by --image hires",
    ),
    "no features in the folder of mtx": (
        lambda f: (to_mtx(f) / "features.tsv").unlink(),
        "lacks features.tsv",
    ),
    "no column": (
        lambda f: positions(f, lambda table: table.pop("in_tissue")),
        "lacks the columns in_tissue; it has barcode",
    ),
    "truncated h5": (lambda f: truncate(f / MATRIX), "cannot be read as a matrix"),
    "truncated mtx": (
        lambda f: truncate(to_mtx(f) / "matrix.mtx"),
        "cannot be read as a matrix",
    ),
    "truncated image": (
        lambda f: truncate(f / "slide.png"),
        "slide.png.*(complete|no)",
    ),
    "truncated scale factors": (lambda f: truncate(f / FACTORS), FACTORS),
    "transposed h5": (transpose, "expected .* 30 features x 320 .*: it is transposed"),
    "transposed mtx": (transpose_mtx, "it is transposed"),
    "normalised counts": (
        lambda f: rewrite_values(f),
        "expected raw counts, got values that are negative or not whole",
    ),
    "no genes": (
        lambda f: rewrite(f, own_counts(), kinds=["Antibody Capture"] * 30),
        "no feature of type Gene Expression, only",
    ),
    "barcodes of another slide": (
        lambda f: rewrite(f, own_counts(), [f"X{i}-1" for i in range(320)]),
        "no barcode in common: 320 such as X0-1, and 320 such as AAAAAAAA-1",
    ),
    "a barcode twice": (
        lambda f: positions(f, lambda t: t.__setitem__("barcode", ["A-1"] * len(t))),
        "has 319 barcodes twice, first A-1",
    ),
    "nothing in tissue": (
        lambda f: positions(f, lambda table: table.__setitem__("in_tissue", 0)),
        "marks no spot as in tissue",
    ),
    "no counts at all": (
        lambda f: rewrite(f, 0 * own_counts()),
        "320 spots: fewer than 1 counts",
    ),
    "all positions NaN": (
        lambda f: positions(f, lambda table: table.__setitem__(X, np.nan)),
        "no position of a spot in tissue is a number",
    ),
    "x and y swapped": (
        lambda f: positions(f, swap),
        r"outside the image of 1150 x 850 px.* x and y are swapped \(with them",
    ),
    "positions of other barcodes": (
        lambda f: positions(f, shuffle),
        "off the array that their rows and columns make",
    ),
    "hires as full resolution": (
        hires_as_full,
        "no full-resolution image.*of another size: slide.png",
    ),
    "hires as full resolution, nothing beside it": (
        reduced_alone,
        "outside the image of 575 x 425 px.*reduced or cropped image",
    ),
    "image turned by 90 degrees": (turned, "of another size: slide.png"),
    "scale factors of another run": (
        lambda f: factors(f, fiducial_diameter_fullres=60.0),
        r"scale factors gives 1.75 um/px|spot pitch gives 2",
    ),
    "tags of another resolution": (
        tagged,
        "spot pitch gives 2 um/px, image tags 2.2",
    ),
}


def rewrite_values(folder):
    import h5py

    with h5py.File(folder / MATRIX, "a") as file:
        data = np.log1p(file["matrix/data"][:].astype(np.float32))
        del file["matrix/data"]
        file["matrix/data"] = data


@pytest.mark.parametrize("name", ERRORS)
def test_refused(folder, tmp_path, name):
    mutilate, message = ERRORS[name]
    mutilate(folder)
    with pytest.raises(StudyError, match=message) as error:
        build(folder, out=tmp_path / "out")
    assert len(str(error.value)) < 600
    assert not (tmp_path / "out" / "study.json").exists()


def test_hires_given_as_full_resolution(folder, tmp_path):
    image = folder / "spatial" / "tissue_hires_image.png"
    with pytest.raises(
        StudyError,
        match=r"575 x 425 px, but .* 1150 x 850 px: it is as large as hires",
    ):
        build(SampleRow(folder, image=str(image)), out=tmp_path / "out")


def mirrored(folder):
    with Image.open(folder / "slide.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "slide.png")


def swapped_in_a_square(folder):
    """The same, with room for it: the image and its place are enlarged to a square."""
    positions(folder, swap)
    without_reduced(folder)
    side = max(SIZE)
    image = Image.new("RGB", (side, side), (235, 228, 232))
    with Image.open(folder / "slide.png") as small:
        image.paste(small, (0, 0))
    image.save(folder / "slide.png")


def blank(folder):
    Image.new("RGB", SIZE, (240, 240, 240)).save(folder / "slide.png")


WARNINGS = {
    "mirrored image": (mirrored, "fit the image better mirrored left to right"),
    "swapped within a square": (swapped_in_a_square, "array is mirrored in the image"),
    "swapped within a square, by score": (
        swapped_in_a_square,
        "fit the image better x and y swapped",
    ),
    "image of nothing": (blank, "0% of the spots are on what looks like tissue"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warned_of_and_refused_if_strict(folder, tmp_path, name):
    mutilate, message = WARNINGS[name]
    mutilate(folder)
    with pytest.raises(StudyError, match=message):
        build(folder, out=tmp_path / "strict", strict=True)


def test_a_warning_is_kept_in_the_study(folder, tmp_path, caplog):
    mirrored(folder)
    study = build(folder, out=tmp_path / "out")
    (warning,) = study.meta["provenance"]["samples"]["S1"]["warnings"]
    assert "mirrored left to right" in warning and warning in caplog.text


def test_a_few_bad_spots_are_left_out_and_counted(folder, tmp_path):
    def damage(table):
        table.loc[:2, X] = np.nan
        table.loc[3:6, "in_tissue"] = 0

    positions(folder, damage)
    matrix = own_counts()
    matrix[10:15] = 0
    rewrite(folder, matrix)
    empty = int((matrix[7:].sum(axis=1) == 0).sum())
    study = build(folder, out=tmp_path / "out")
    assert len(study.samples) == 320 - 7 - empty and empty >= 5
    left_out = [tuple(entry.values()) for entry in study.meta["skipped"]]
    assert ("S1: 3 spots", "their position is no number") in left_out
    assert ("S1: 7 barcodes", "no position under tissue") in left_out
    assert (f"S1: {empty} spots", "fewer than 1 counts") in left_out


def test_two_samples_of_one_name(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other" / "S1")
    study = build(folder, other, out=tmp_path / "out")
    (reason,) = [e["reason"] for e in study.meta["skipped"] if "other" in e["what"]]
    assert reason.startswith("two samples are called S1")
    with pytest.raises(StudyError, match="two samples are called S1"):
        build(folder, other, out=tmp_path / "strict", strict=True)


HD = "binned_outputs/square_008um"
HD_ERRORS = {
    "no matrix": (MATRIX, "square_008um lacks filtered_feature_bc_matrix.h5"),
    "no positions": ("spatial/tissue_positions.parquet", "lacks the positions"),
    "no scale factors": (FACTORS, "lacks scalefactors_json.json"),
}


@pytest.mark.parametrize("name", HD_ERRORS)
def test_visium_hd_lacks_a_file(tmp_path, name):
    root = write_visium_hd(tmp_path / "H1", 6, 8)
    file, message = HD_ERRORS[name]
    (root / HD / file).unlink()
    with pytest.raises(StudyError, match=message):
        build(root, out=tmp_path / "out")


def test_visium_hd_with_the_bins_of_another_grid(tmp_path):
    """As of a real file: 8 um bins with the array of those of 16 um."""
    root = write_visium_hd(tmp_path / "H1", 6, 8)
    path = root / HD / "spatial" / "tissue_positions.parquet"
    table = pd.read_parquet(path)
    table[["array_row", "array_col"]] *= 2
    table.to_parquet(path)
    with pytest.raises(StudyError, match=r"scale factors gives 0.5 um/px, bin pitch 1"):
        build(root, out=tmp_path / "out")
