import gzip

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from pathjax.data.check import check_study
from pathjax.data.images import decode_tile
from pathjax.data.study import Study, StudyError
from pathjax.datasets.her2st.build import build_her2st

SMALL = {"tile_um": 100.0, "tile_px": 16}


@pytest.fixture
def source(tmp_path, made):
    """Sections of three patients; made once more by writing them again."""
    root = tmp_path / "her2st"
    for name in ("A1", "B4", "C2", "C3", "C4", "C5"):
        content = made(name)
        if name != "A1":
            content.labels = None
        content.write(root)
    return root


def tiles_of(study):
    return [decode_tile(data) for data in study.tile_bytes(range(len(study.tiles)))]


def test_builds_a_sound_study_with_each_tile_on_its_spot(source, tmp_path, colour_of):
    calls = []
    study = build_her2st(
        source,
        tmp_path / "out",
        **SMALL,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert check_study(study).problems == ()
    assert len(study.samples) == len(study.tiles) == 6 * 36
    assert list(study.samples["sample_id"]) == list(study.expression().obs_names)
    assert calls == [(i, 6) for i in range(1, 7)]
    assert study.meta["skipped"] == []
    assert study.mpp == 100 / 16 and not study.synthetic
    samples = study.samples.set_index("sample_id")
    for row, tile in zip(study.tiles.itertuples(), tiles_of(study), strict=True):
        sample = samples.loc[row.sample_id]
        expected = colour_of(sample["array_col"], sample["array_row"]).astype(int)
        assert np.abs(tile.mean(axis=(0, 1)) - expected).max() < 8
        assert row.slide_id == sample["slide_id"] == row.sample_id[:2]
        assert row.patient_id == row.slide_id[0] and row.site == "her2st"
        side = 100 / sample["source_mpp"]
        assert abs(row.x + side / 2 - sample["pixel_x"]) <= 0.5
    assert set(study.tiles["filled"]) == {0.0}


def test_targets_and_expression(source, tmp_path):
    study = build_her2st(source, tmp_path / "out", **SMALL)
    assert list(study.targets) == ["cluster", "pathologist", "total_counts"]
    assert study.targets["cluster"].classes == tuple(
        f"{patient}:{i}" for patient in "ABC" for i in range(3)
    )
    assert study.targets["pathologist"].classes == ("invasive cancer",)
    labelled = study.samples["pathologist"].notna()
    assert set(study.samples["slide_id"][labelled]) == {"A1"}
    counts = study.expression().layers["counts"].toarray()
    np.testing.assert_array_equal(study.samples["total_counts"], counts.sum(axis=1))


def test_genes_are_the_union_and_renamed_copies_are_added(source, tmp_path, made):
    for name, symbols in (("C2", "MATR3 MATR3.1 AC2.1 MATR3"), ("C3", "A B C AC2.1")):
        content = made(name)
        content.counts[0] = ["", *symbols.split()]
        content.write(source)
    sections = ("C2", "C3")
    study = build_her2st(source, tmp_path / "out", **SMALL, sections=sections)
    table = study.expression()
    assert set(table.var_names) == {"MATR3", "AC2.1", "A", "B", "C"}
    path = source / "data/ST-cnts/C2.tsv.gz"
    counts = pd.read_csv(path, sep="\t", index_col=0)  # which renames in its own way
    counts.index = "C2_" + counts.index
    own = table[counts.index].to_df("counts")
    added = counts.drop(columns="AC2.1").sum(axis=1)
    np.testing.assert_array_equal(own["MATR3"], added)
    np.testing.assert_array_equal(own["AC2.1"], counts["AC2.1"])
    assert (own[["A", "B", "C"]] == 0).all(axis=None)
    scaled = own.to_numpy() / own.to_numpy().sum(axis=1, keepdims=True) * 10_000
    expected = np.log1p(scaled)
    np.testing.assert_allclose(table[counts.index].X.toarray(), expected, rtol=1e-6)


def test_splits(source, tmp_path):
    study = build_her2st(source, tmp_path / "out", **SMALL)
    assert study.split_names == ("c_sections", "c_sections_dev", "patients")
    patients = study.split("patients")
    assert patients.folds == {"train": ("C",), "test": ("B",), "other": ("A",)}
    split = study.split("c_sections")
    assert split.unit == "slide_id" and split.shared_patients == ("C",)
    fold = study.fold_samples("c_sections", "new_section")
    assert set(study.samples["slide_id"].iloc[fold]) == {"C5"}
    dev = study.split("c_sections_dev")
    assert dev.folds == {"train": ("C2", "C3"), "val": ("C4",)}


def test_splits_appear_only_with_their_sections(source, tmp_path):
    study = build_her2st(
        source, tmp_path / "out", **SMALL, sections=("C2", "C3", "C4", "C5")
    )
    assert study.split_names == ("c_sections_dev",)
    skipped = {entry["what"]: entry["reason"] for entry in study.meta["skipped"]}
    assert skipped["split c_sections"] == "needs missing sections: B4"
    assert "needs patients B and C" in skipped["split patients"]


def test_whole_sections_are_skipped_by_name(source, tmp_path):
    image = source / "data/ST-imgs/C/C2/made_HE_C2.jpg"
    image.write_bytes(image.read_bytes()[:-3000])  # decodes only in part
    (source / "data/ST-imgs/C/C3/made_HE_C3.jpg").unlink()
    counts = source / "data/ST-cnts/C4.tsv.gz"
    counts.write_bytes(counts.read_bytes()[:-12])
    spots = source / "data/ST-spotfiles/C5_selection.tsv"
    spots.write_text("x\ty\n1\t2\n")
    study = build_her2st(source, tmp_path / "out", **SMALL)
    assert set(study.tiles["slide_id"]) == {"A1", "B4"}
    assert set(study.meta["provenance"]["samples"]) == {"A1", "B4"}
    skipped = {entry["what"]: entry["reason"] for entry in study.meta["skipped"]}
    for name, reason in [
        ("C2", "made_HE_C2.jpg is not a complete image"),
        ("C3", "no image: expected data/ST-imgs/C/C3/"),
        ("C4", "C4.tsv.gz cannot be read"),
        ("C5", "C5_selection.tsv lacks the columns pixel_x, pixel_y"),
    ]:
        assert reason in skipped[name]
    assert check_study(study).problems == ()


def test_nothing_left_is_fatal_and_lists_every_reason(source, tmp_path):
    for name in ("C2", "C3"):
        (source / f"data/ST-imgs/C/{name}/made_HE_{name}.jpg").unlink()
    with pytest.raises(StudyError, match=r"(?s)C2: no image.*C3: no image"):
        build_her2st(source, tmp_path / "out", **SMALL, sections=("C2", "C3"))
    broken = source / "data/ST-imgs/C/C4/made_HE_C4.jpg"
    broken.write_bytes(broken.read_bytes()[:2000])
    with pytest.raises(StudyError, match=r"C4\.jpg is not a complete image"):
        build_her2st(source, tmp_path / "other", **SMALL, sections=("C4",))


def test_bad_arguments_are_refused(source, tmp_path):
    with pytest.raises(StudyError, match=r"no section Z9; it has A1, B4"):
        build_her2st(source, tmp_path / "out", sections=("C2", "Z9"))
    with pytest.raises(StudyError, match="expected sizes above 0, got 0 um"):
        build_her2st(source, tmp_path / "out", tile_um=0)
    with pytest.raises(StudyError, match="nowhere"):
        build_her2st(source / "nowhere", tmp_path / "out")


def stamps(out):
    return {path.stem: path.stat().st_mtime_ns for path in (out / "tiles").iterdir()}


def test_a_rerun_keeps_what_is_there_adds_what_is_new_and_cuts_what_changed(
    source, tmp_path, made
):
    out = tmp_path / "out"
    first = build_her2st(source, out, **SMALL, sections=("C2", "C3"))
    before = stamps(out)
    again = build_her2st(source, out, **SMALL, sections=("C2", "C3"))
    assert stamps(out) == before
    assert again.fingerprint == first.fingerprint
    assert again.meta["provenance"]["samples"] == first.meta["provenance"]["samples"]
    made("C3", seed=1).write(source)
    more = build_her2st(source, out, **SMALL, sections=("C2", "C3", "C4"))
    after = stamps(out)
    assert after["C2"] == before["C2"] and after["C3"] != before["C3"]
    assert set(more.tiles["slide_id"]) == {"C2", "C3", "C4"}
    assert check_study(more).problems == ()
    with pytest.raises(StudyError, match="tile_px: 16 there, 24 now"):
        build_her2st(source, out, tile_um=100.0, tile_px=24, sections=("C2",))


def test_an_interrupted_build_resumes(source, tmp_path):
    out = tmp_path / "out"

    class Killed(Exception):
        pass

    def stop(done, total):
        if done > 1:
            raise Killed

    with pytest.raises(Killed):
        build_her2st(source, out, **SMALL, progress=stop)
    with pytest.raises(StudyError, match="interrupted"):
        Study(out)
    before = stamps(out)
    assert len(before) == 2
    study = build_her2st(source, out, **SMALL)
    assert {name: stamps(out)[name] for name in before} == before
    whole = build_her2st(source, tmp_path / "whole", **SMALL)
    assert study.fingerprint == whole.fingerprint


def test_the_archive_layout_gives_the_same_tiles(source, tmp_path):
    archive = tmp_path / "archive"
    for folder in ("count-matrices", "images/HE", "spot-selections", "meta"):
        (archive / folder).mkdir(parents=True)
    for name in ("A1", "C2"):
        data = (source / f"data/ST-cnts/{name}.tsv.gz").read_bytes()
        (archive / f"count-matrices/{name}.tsv").write_bytes(gzip.decompress(data))
        image = source / f"data/ST-imgs/{name[0]}/{name}/made_HE_{name}.jpg"
        (archive / f"images/HE/{name}.jpg").write_bytes(image.read_bytes())
        spots = (source / f"data/ST-spotfiles/{name}_selection.tsv").read_bytes()
        path = archive / f"spot-selections/{name}_selection.tsv.gz"
        path.write_bytes(gzip.compress(spots))
    labels = source / "data/ST-pat/lbl/A1_labeled_coordinates.tsv"
    (archive / "meta/A1_labeled_coordinates.tsv").write_bytes(labels.read_bytes())
    study = build_her2st(archive, tmp_path / "out", **SMALL)
    expected = build_her2st(
        source, tmp_path / "expected", **SMALL, sections=("A1", "C2")
    )
    files = [name for name in expected.meta["files"] if name.startswith("tiles/")]
    for name in files:
        assert study.meta["files"][name] == expected.meta["files"][name]
    assert list(study.targets) == ["pathologist", "total_counts"]


@pytest.mark.slow
def test_real_tiles_lie_on_their_spots(real_data, tmp_path):
    """Dark tiles have many counts; any turn, flip or shift of the array loses that.

    B4 has fat, stroma and tumour in one piece, so its brightness varies most.
    """
    study = build_her2st(
        real_data / "her2st", tmp_path / "out", tile_px=32, sections=("B4",)
    )
    assert len(study.samples) == 283
    assert study.meta["skipped"][0]["what"] == "B4: 18x20"
    place = pd.Index(study.tiles["sample_id"]).get_indexer(study.samples["sample_id"])
    dark = np.array([255 - tile.mean() for tile in tiles_of(study)])[place]
    counts = np.log(study.samples["total_counts"].to_numpy())
    place = study.samples[["array_col", "array_row"]].to_numpy(float).copy()
    place -= place.mean(axis=0)
    tree = cKDTree(place)

    def correlation(moved):
        distance, other = tree.query(moved)
        both = distance < 0.8
        assert both.sum() > 150
        return np.corrcoef(counts[both], dark[other[both]])[0, 1]

    right = correlation(place)
    assert right > 0.55
    x, y = place.T
    turned = [(y, x), (-x, y), (x, -y), (-x, -y), (y, -x), (-y, x), (-y, -x)]
    shifted = [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)]
    for moved in turned:
        assert correlation(np.column_stack(moved)) < right - 0.25
    for moved in shifted:  # neighbours look alike
        assert correlation(np.column_stack(moved)) < right - 0.03


@pytest.mark.slow
def test_real_reduced_section_says_that_it_is_upsampled(real_data, tmp_path):
    study = build_her2st(real_data / "her2st", tmp_path / "out", sections=("A1",))
    assert study.samples["upsampled"].all()
    np.testing.assert_allclose(study.samples["source_mpp"], 3.185, atol=2e-3)
    facts = study.meta["provenance"]["samples"]["A1"]
    assert "reduced copy A1_HE_image_dark.png of the viewer" in facts["warnings"][0]
    assert "tiles are enlarged 6.4 times" in facts["warnings"][1]
    assert facts["source_px_per_tile"] == pytest.approx(35.2, abs=0.1)
    # The blanked surroundings are not in the tiles.
    dark = [(tile.max(axis=-1) <= 20).mean() for tile in tiles_of(study)]
    assert max(dark) < 0.02
