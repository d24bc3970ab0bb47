"""The paired study: what is in it, what is not and why, and the real regions."""

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from tiny_tcga import PATIENTS, PX, rna_file, tcga_parts, tile_study

from pathjax.data.check import check_study
from pathjax.data.images import encode_jpeg
from pathjax.data.samples import gather
from pathjax.data.study import Study, StudyError
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.registry import Tcga
from pathjax.datasets.tcga.build import of_patients
from pathjax.datasets.tcga.tables import TcgaError


def build_tcga(slides, rna, labels, out, **options):
    tcga = Tcga(slides, rna, tuple(labels), **options)
    return tcga.build(None, out, lambda done, total: None)


@pytest.fixture
def parts(tmp_path):
    return tcga_parts(tmp_path)


def test_study_and_what_was_left_out(parts):
    study = build_tcga(**parts)
    assert check_study(study).problems == ()
    assert study.name == "tcga" and study.synthetic and study.tile_px == PX
    assert list(study.samples["sample_id"]) == sorted(PATIENTS[:23])
    assert len(study) == 24 * 3  # slides of 23 patients, one with two
    assert study.targets["cancer_type"].classes == ("BRCA", "LUAD")
    assert set(study.targets) == {"cancer_type", "tp53", "lung"}
    first = study.samples.set_index("patient_id").loc[PATIENTS[0]]
    assert pd.isna(first["tp53"]) and first["cancer_type_source"] == "a.csv"
    assert first["site"] == "A0"
    reasons = {one["what"]: one["reason"] for one in study.meta["skipped"]}
    assert "no RNA" in reasons[f"slide {PATIENTS[23]}-01Z-00-DX1"]
    assert "frozen" in reasons[f"slide {PATIENTS[0]}-01A-01-TS1"]
    assert "normal" in reasons[f"slide {PATIENTS[0]}-11A-01-TS1"]
    assert "no tissue" in reasons[f"slide {PATIENTS[5]}-01Z-00-DX2"]
    assert "normal" in reasons[f"RNA {PATIENTS[0]}-11A"]
    disagreement = reasons[f"tp53 of {PATIENTS[0]}"]
    assert "mutated (b.csv)" in disagreement and "wild type (a.csv)" in disagreement
    assert "first TCGA-A5-0023" in reasons["1 of 24 patients of a.csv"]
    assert len(reasons) == 7
    listed = pd.read_parquet(study.root / "unmatched.parquet")
    assert len(listed) == 5 and not listed["kept"].any()
    assert len(pd.read_parquet(study.root / "label_conflicts.parquet")) == 2


def test_tiles_and_expression_are_those_of_the_patient(parts):
    study = build_tcga(**parts)
    source = Study(parts["slides"])
    tiles = study.tiles.merge(source.tiles.reset_index(names="place"), on="tile_id")
    assert len(tiles) == len(study)
    assert study.tile_bytes(range(len(study))) == source.tile_bytes(tiles["place"])
    assert (study.tiles["sample_id"] == study.tiles["tile_id"].str[:12]).all()
    assert (study.tiles["sample_id"] == study.tiles["patient_id"]).all()
    rna = anndata.read_h5ad(parts["rna"])
    found = study.expression()
    names = [f"{one}-01A" for one in found.obs_names]
    np.testing.assert_array_equal(found.X, rna[names].X)
    assert found.uns["pathjax"]["x"] == "log2(TPM+1)"
    samples = gather(study, "cohort", "train")
    assert len(samples) == len(study.split("cohort").folds["train"])


def test_strict_fails_for_what_is_not_used(parts):
    with pytest.raises(TcgaError, match=r"7 things were not used:\n(.|\n)*no RNA"):
        build_tcga(**parts, strict=True)
    assert not parts["out"].exists()


def test_shards_are_linked_and_a_second_run_changes_nothing(parts):
    study = build_tcga(**parts)
    shard = f"tiles/{PATIENTS[0]}-01Z-00-DX1.array_record"
    assert (study.root / shard).samefile(parts["slides"] / shard)
    assert build_tcga(**parts).fingerprint == study.fingerprint


def test_the_slide_table_has_all_slides(parts):
    study = build_tcga(**parts)
    slides = study.slides.set_index("slide_id")
    assert len(slides) == 24 + 1 + 2 + 1
    assert (slides["status"] == "tiled").sum() == 24
    both = slides.loc[[f"{PATIENTS[1]}-01Z-00-DX{i}" for i in (1, 2)]]
    assert list(both["sample_id"]) == [PATIENTS[1]] * 2
    left = slides.loc[f"{PATIENTS[23]}-01Z-00-DX1"]
    assert left["status"] == "skipped" and "no RNA" in left["reason"]


def test_patients_without_rna_can_be_kept_for_labels(parts):
    study = build_tcga(**parts, keep_unpaired=True, frozen=True)
    assert check_study(study).problems == ()
    assert len(study.samples) == 24 and study.expression().n_obs == 23
    assert len(study) == 26 * 3
    names = {one["what"] for one in study.meta["skipped"]}
    assert f"slide {PATIENTS[23]}-01Z-00-DX1" not in names


@pytest.mark.slow
def test_rows_are_read_across_row_groups(parts, monkeypatch):
    whole = build_tcga(**parts).tiles
    for size in (1, 2, 5, 7):
        path = parts["slides"] / "tiles.parquet"
        pd.read_parquet(path).to_parquet(path, index=False, row_group_size=size)
        again = build_tcga(**parts | {"out": parts["out"].with_name(f"s{size}")})
        pd.testing.assert_frame_equal(again.tiles, whole)


def test_invalid_sources(parts, tiny_study, tmp_path):
    with pytest.raises(TcgaError, match="cannot be read as AnnData"):
        build_tcga(**parts | {"rna": parts["labels"][0]})
    joined = StudyWriter(
        tmp_path / "joined", name="joined", tile_px=PX, mpp=0.5, synthetic=True
    )
    with joined.shard("both") as shard:
        for slide in ("a", "b"):
            tile = encode_jpeg(np.zeros((PX, PX, 3), np.uint8))
            row = {"sample_id": slide, "patient_id": slide, "site": "s", "x": 0, "y": 0}
            shard.add(tile, tile_id=slide, slide_id=slide, **row)
    samples = pd.DataFrame({"sample_id": ["a", "b"], "patient_id": ["a", "b"]})
    joined.finish(samples=samples.assign(site="s"))
    with pytest.raises(StudyError, match="pathjax tile"):
        build_tcga(**parts | {"slides": joined.root})
    with pytest.raises(TcgaError, match="neither its id nor its file name"):
        build_tcga(**parts | {"slides": tiny_study.root})
    build_tcga(**parts)
    tile_study(tmp_path / "other", [f"{one}-01Z-00-DX1" for one in PATIENTS])
    with pytest.raises(StudyError, match="begun with other parameters"):
        build_tcga(**parts | {"slides": tmp_path / "other"})


ALIQUOTS = {"P2": ("d",), "P1": ("c", "a", "b")}


def aliquots(sparse=False):
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    counts = (values * 10).astype(np.int32)
    kind = scipy.sparse.csr_matrix if sparse else np.asarray
    return anndata.AnnData(
        X=kind(values),
        obs=pd.DataFrame({"sample_type": ["01", "01", "01", "06"]}, index=list("abcd")),
        var=pd.DataFrame(index=["G1", "G2", "G3"]),
        layers={"counts": kind(counts)},
        uns={"pathjax": {"x": "log2(TPM+1)"}},
    )


def dense(values):
    return values.toarray() if scipy.sparse.issparse(values) else np.asarray(values)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_first_aliquot(sparse):
    found = of_patients(aliquots(sparse), ALIQUOTS)
    assert list(found.obs_names) == ["P2", "P1"]
    np.testing.assert_array_equal(dense(found.X), [[9, 10, 11], [6, 7, 8]])
    np.testing.assert_array_equal(dense(found.layers["counts"])[1], [60, 70, 80])
    assert list(found.obs["aliquots"]) == ["d", "c"]
    assert list(found.obs["sample_type"]) == ["06", "01"]
    assert found.uns["pathjax"] == {"x": "log2(TPM+1)", "aliquots": "first"}


@pytest.mark.parametrize("sparse", [False, True])
def test_the_mean_of_aliquots(sparse):
    found = of_patients(aliquots(sparse), ALIQUOTS, "mean")
    np.testing.assert_array_equal(dense(found.X), [[9, 10, 11], [3, 4, 5]])
    counts = dense(found.layers["counts"])
    np.testing.assert_array_equal(counts, [[90, 100, 110], [90, 120, 150]])
    assert list(found.obs["aliquots"]) == ["d", "c, a, b"]


def test_unknown_rule():
    with pytest.raises(ValueError, match="expected one of first, mean"):
        of_patients(aliquots(), ALIQUOTS, "median")


@pytest.mark.slow
def test_the_real_regions(real_data, tmp_path):
    """Regions of slides as images, RNA and labels; oracle: the published pairs."""
    pytest.importorskip("openslide")
    from pathjax.datasets.tcga.rna import read_rna, write_rna
    from pathjax.wsi.build import tile_study as tile

    pairs = pd.read_csv(real_data / "tcga_image_bulk_pairs.csv")
    manifest = pairs[["image"]].rename(columns={"image": "path"}).assign(mpp=0.25)
    manifest["path"] = [str(real_data / one) for one in manifest["path"]]
    manifest.to_csv(tmp_path / "regions.csv", index=False)
    tile(tmp_path / "regions.csv", tmp_path / "tiles", workers=1)
    few = tmp_path / "bulk"
    few.mkdir()
    for cohort in ("blca", "kirc", "kirp", "stad"):
        name = f"tcga_{cohort}_all_clean.csv.zip"
        (few / name).symlink_to(real_data / "tcga_bulk" / name)
    write_rna(read_rna(few), tmp_path / "rna.h5ad")
    study = build_tcga(
        tmp_path / "tiles",
        tmp_path / "rna.h5ad",
        [
            real_data / "tcga_slide_labels" / "tcga_patient_to_cancer_type.csv",
            *sorted(few.iterdir()),
        ],
        tmp_path / "study",
        frozen=True,
        keep_unpaired=True,
        site_preserved=False,
    )
    assert check_study(study).problems == ()
    pairs = pairs.set_index("patient").loc[study.samples["sample_id"]]
    assert len(pairs) == 30
    assert list(study.samples["cancer_type"]) == list(pairs["cancer_type"])
    paired = pairs["bulk_table"].str.contains("blca|kirc|kirp|stad", na=False)
    assert set(study.expression().obs_names) == set(pairs.index[paired])
    assert paired.sum() == 9
    expected = pairs["TP53_mut"][paired].map({1.0: "mutated", 0.0: "wild type"})
    found = study.samples.set_index("sample_id")["tp53"][expected.index]
    assert found[expected.notna()].tolist() == expected.dropna().tolist()
    assert found[expected.isna()].isna().all()


@pytest.mark.slow  # starts Dask's workers
def test_a_manifest_of_slides_is_tiled_first(real_data, tmp_path):
    pytest.importorskip("openslide")
    regions = sorted((real_data / "monuseg").rglob("*DX1.jpg"))[:6]
    lines = [f"{path},0.25" for path in regions]
    (tmp_path / "regions.csv").write_text("\n".join(["path,mpp", *lines]))
    patients = [path.name[:12] for path in regions]
    rna_file(tmp_path / "rna.h5ad", [f"{one}-01A" for one in patients])
    types = real_data / "tcga_slide_labels" / "tcga_patient_to_cancer_type.csv"
    study = build_tcga(
        tmp_path / "regions.csv", tmp_path / "rna.h5ad", [types], tmp_path / "study"
    )
    assert check_study(study).problems == ()
    assert list(study.samples["sample_id"]) == patients
    tiles = Study(tmp_path / "study" / "slides")
    # Four to a region, less the corner of TCGA-21-5786 that is mostly glass.
    assert len(tiles) == len(study) == 23 and study.tile_px == 224
    assert (tiles.tiles["patient_id"] == "TCGA-21-5786").sum() == 3
