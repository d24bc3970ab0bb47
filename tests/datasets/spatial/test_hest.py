import json

import anndata
import h5py
import numpy as np
import pytest
from made_spots import MPP, Visium, picture, save, spots
from PIL import Image

from pathjax.datasets.spatial.build import build_spatial
from pathjax.datasets.spatial.hest import Hest
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError

READER = Hest()
OPTIONS = SpatialOptions(tile_px=16)
TABLE = "dataset_title,id,organ,species,patient,st_technology,inter_spot_dist\n"


def patch(image, centre, px=224):
    """As HEST cuts one: 112 um at 0.5 um/px."""
    side = px * 0.5 / MPP
    box = (*(centre - side / 2), *(centre + side / 2))
    return np.asarray(Image.fromarray(image).resize((px, px), box=tuple(box)))


def make(root, name="TENX1", seed=0, patches=12):
    """A sample of HEST-1k; fewer patches than spots, as it has off the tissue."""
    image = picture(seed)
    save(root / "wsis" / f"{name}.png", image)
    adata = spots(seed=seed)
    for folder in ("st", "patches", "metadata"):
        (root / folder).mkdir(exist_ok=True)
    adata.write_h5ad(root / "st" / f"{name}.h5ad")
    (root / "metadata" / f"{name}.json").write_text(
        json.dumps({"pixel_size_um_estimated": MPP, "spot_diameter": 55})
    )
    with h5py.File(root / "patches" / f"{name}.h5", "w") as file:
        xy = Visium().xy[:patches]
        file["img"] = np.stack([patch(image, centre) for centre in xy])
        file["barcode"] = np.array(adata.obs_names[:patches], "S")[:, None]
    return adata


@pytest.fixture
def root(tmp_path):
    make(tmp_path / "hest")
    return tmp_path / "hest"


def read(root, name="TENX1"):
    return READER.read(root / "st" / f"{name}.h5ad", OPTIONS)


def test_a_sample_with_its_metadata(root):
    (root / "HEST_v1_1_0.csv").write_text(
        TABLE + "Cohort X,TENX1,Lung,Homo sapiens,Patient 1,Visium,100\n"
    )
    assert READER.recognises(root) and READER.recognises(root / "st" / "TENX1.h5ad")
    sample = read(root)
    assert sample.patient.startswith("Cohort-X-") and sample.patient.endswith(
        ":Patient-1"
    )
    assert (sample.technology, sample.organism) == ("Visium", "human")
    assert sample.mpp["metadata/TENX1.json"] == MPP
    assert sample.mpp["spot pitch"] == pytest.approx(MPP)
    assert set(sample.counts.obs["organ"]) == {"Lung"} and sample.spot_um == 55
    assert sample.notes == ()


def test_all_samples_of_a_folder_become_one_study(root, tmp_path):
    make(root, "TENX2", seed=1)
    (root / "HEST_v1_1_0.csv").write_text(
        TABLE
        + "Cohort X,TENX1,Lung,Homo sapiens,Patient 1,Visium,100\n"
        + "Cohort Y,TENX2,Liver,Homo sapiens,Patient 1,Visium,100\n"
    )
    study = build_spatial([SampleRow(root)], tmp_path / "out", OPTIONS)
    assert set(study.tiles["slide_id"]) == {"TENX1", "TENX2"}
    # "Patient 1" of two data sets are two people.
    assert study.samples["patient_id"].nunique() == 2
    assert study.targets["organ"].classes == ("Liver", "Lung")
    assert study.split_names == ("patients",)
    with pytest.raises(SpatialError, match="holds 2 samples, but one name"):
        build_spatial([SampleRow(root, name="A")], tmp_path / "other", OPTIONS)


def test_a_data_set_without_patients_counts_as_one_patient(root, tmp_path):
    make(root, "TENX2", seed=1)
    rows = [f"Cohort X,{name},Lung,Homo sapiens,,Visium,100\n" for name in
            ("TENX1", "TENX2")]  # fmt: skip
    (root / "HEST_v1_1_0.csv").write_text(TABLE + "".join(rows))
    study = build_spatial([SampleRow(root)], tmp_path / "out", OPTIONS)
    assert study.samples["patient_id"].nunique() == 1 and study.split_names == ("all",)
    (warning, *_) = study.meta["provenance"]["samples"]["TENX1"]["warnings"]
    assert "names no patient" in warning
    named = [SampleRow(root / "st" / f"TENX{i}.h5ad", patient=f"P{i}") for i in (1, 2)]
    study = build_spatial(named, tmp_path / "named", OPTIONS)
    assert set(study.samples["patient_id"]) == {"P1", "P2"}


def test_patches_that_show_other_tissue_are_an_error(root):
    save(root / "wsis" / "TENX1.png", picture()[:, ::-1])
    with pytest.raises(SpatialError, match=r"shows other tissue than the image.*scale"):
        read(root)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            "wsis/TENX1.png",
            r"wsis: expected one image TENX1.tif, got 0; TENX1.h5 has patches only",
        ),
        ("st/TENX1.h5ad", r"st/TENX1.h5ad does not exist"),
        ("metadata/TENX1.json", None),
        ("patches/TENX1.h5", None),
    ],
)
def test_missing_files(root, broken, message):
    (root / broken).unlink()
    if message is None:  # optional; the scale is then known from the spots
        assert read(root).mpp
    else:
        with pytest.raises(SpatialError, match=message):
            read(root)


def test_damaged_and_contradicting_files(root, tmp_path):
    for name in ("metadata/TENX1.json", "st/TENX1.h5ad", "patches/TENX1.h5"):
        path = root / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        if name.startswith("patches"):
            assert "not compared" in read(root).notes[0]
        else:
            with pytest.raises(SpatialError, match=name.split("/")[1]):
                read(root)
        path.write_bytes(whole)
    about = root / "metadata" / "TENX1.json"
    about.write_text(json.dumps({"species": "Mus musculus"}))
    with pytest.raises(SpatialError, match="ids are of human, the metadata says mouse"):
        read(root)
    (root / "patches" / "TENX1.h5").unlink()
    about.write_text(json.dumps({"pixel_size_um_estimated": 1.2 * MPP}))
    with pytest.raises(SpatialError, match=r"spot pitch gives 2 um/px, metadata/TENX1"):
        build_spatial([SampleRow(root)], tmp_path / "out", OPTIONS)


def test_the_real_sample(real_data, tmp_path):
    """A lung of HEST: read as anndata reads it, and placed in its image."""
    root = real_data / "spatial_formats" / "hest_xenium_lung"
    (path,) = READER.samples(root)
    with pytest.raises(SpatialError, match="micrometres per pixel unknown.*--mpp"):
        build_spatial([SampleRow(root)], tmp_path / "none", OPTIONS)
    options = SpatialOptions(tile_px=16, mpp=0.85, tile_um=27.2)
    study = build_spatial([SampleRow(root)], tmp_path / "out", options)
    adata = anndata.read_h5ad(path)
    expression = study.expression()
    names = [f"NCBI858_{name}" for name in adata.obs_names]
    counts = expression[names, adata.var_names].layers["counts"].toarray()
    np.testing.assert_array_equal(counts, np.asarray(adata.X))
    assert (study.meta["provenance"]["samples"]["NCBI858"]["spots"]) == 200
    place = study.samples.set_index("sample_id").loc[names, ["pixel_x", "pixel_y"]]
    # This package has the row in x_pixel: with x and y as they are called, 16 spots
    # are outside the image, and most others lie in the airspace.
    np.testing.assert_array_equal(place, adata.obs[["y_pixel", "x_pixel"]])
    warnings = study.meta["provenance"]["samples"]["NCBI858"]["warnings"]
    assert any("x_pixel is taken as the row" in warning for warning in warnings)
