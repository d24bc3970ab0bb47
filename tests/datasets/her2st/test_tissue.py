import numpy as np
import pytest

from pathjax.data.check import check_study
from pathjax.data.images import decode_tile
from pathjax.data.study import StudyError
from pathjax.datasets.her2st.tissue import build_her2st_tissue, tissue_grid

SMALL = {"tile_ums": (100.0, 200.0), "tile_px": 16}


@pytest.fixture
def source(tmp_path, made):
    root = tmp_path / "her2st"
    for name in ("B4", "C2", "C3", "C5"):
        made(name).write(root)
    return root


def test_builds_a_sound_study_of_the_named_sections_only(source, tmp_path):
    calls = []
    study = build_her2st_tissue(
        source,
        tmp_path / "out",
        sections=("C2", "C3"),
        **SMALL,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert check_study(study).problems == ()
    assert set(study.tiles["slide_id"]) == {"C2", "C3"}
    assert set(study.meta["provenance"]["sections"]) == {"C2", "C3"}
    named = str(study.meta)
    assert "C5" not in named and "B4" not in named
    assert list(study.samples["sample_id"]) == ["C2", "C3"]
    assert study.split("all").folds == {"train": ("C",)}
    assert not study.has_expression and study.targets == {}
    assert calls == [(1, 2), (2, 2)]


def test_tiles_are_tissue_at_their_own_magnification(source, tmp_path):
    study = build_her2st_tissue(source, tmp_path / "out", sections=("C2",), **SMALL)
    tiles = study.tiles
    np.testing.assert_allclose(tiles["mpp"], tiles["tile_um"] / 16)
    assert study.mpp == 100 / 16
    assert (tiles["tissue"] >= 0.5).all()
    # 6 x 6 squares of 200 um: 36 large tiles and 144 small ones fit on average.
    counts = tiles["tile_um"].value_counts()
    assert 25 <= counts[200.0] <= 49 and 121 <= counts[100.0] <= 169
    for data in study.tile_bytes(np.flatnonzero(tiles["tissue"] == 1)):
        assert decode_tile(data).mean() < 200  # glass is at 235


def test_needs_no_counts(source, tmp_path):
    (source / "data/ST-cnts/C2.tsv.gz").unlink()
    study = build_her2st_tissue(source, tmp_path / "out", sections=("C2",), **SMALL)
    assert len(study.tiles)


def test_broken_sections_are_named(source, tmp_path):
    image = source / "data/ST-imgs/C/C2/made_HE_C2.jpg"
    image.write_bytes(image.read_bytes()[:5000])
    study = build_her2st_tissue(
        source, tmp_path / "out", sections=("C2", "C3"), **SMALL
    )
    assert set(study.tiles["slide_id"]) == {"C3"}
    [entry] = study.meta["skipped"]
    assert entry["what"] == "C2" and "is not a complete image" in entry["reason"]


def test_what_cannot_be_built_is_refused(source, tmp_path):
    with pytest.raises(StudyError, match="no section C4; it has B4, C2"):
        build_her2st_tissue(source, tmp_path / "out", **SMALL)
    with pytest.raises(StudyError, match="expected sizes above 0, got tile_ums"):
        build_her2st_tissue(source, tmp_path / "out", tile_ums=())


def test_a_rerun_keeps_what_is_there(source, tmp_path):
    out = tmp_path / "out"
    first = build_her2st_tissue(source, out, sections=("C2",), **SMALL)
    stamp = (out / "tiles/C2.array_record").stat().st_mtime_ns
    again = build_her2st_tissue(source, out, sections=("C2",), **SMALL)
    assert (out / "tiles/C2.array_record").stat().st_mtime_ns == stamp
    assert again.fingerprint == first.fingerprint


def test_grid_counts_tissue_like_a_plain_loop():
    mask = np.random.default_rng(0).random((40, 50)) < 0.5
    grid = tissue_grid(mask, 8)
    expected = []
    for top in range(0, 33, 8):
        for left in range(0, 43, 8):
            share = mask[top : top + 8, left : left + 8].mean()
            if share >= 0.5:
                expected.append((left, top, share))
    np.testing.assert_allclose(grid, expected)


def test_real_viewer_copy_is_refused(real_data, tmp_path):
    with pytest.raises(StudyError, match="reduced copy, too coarse"):
        build_her2st_tissue(real_data / "her2st", tmp_path / "out", sections=("A1",))


@pytest.mark.slow
def test_real_section(real_data, tmp_path):
    study = build_her2st_tissue(
        real_data / "her2st",
        tmp_path / "out",
        sections=("C2",),
        tile_ums=(224.0,),
        tile_px=32,
    )
    # 187 spots, each in 200 x 200 um of tissue, are 7.5 square millimetres.
    area = study.meta["provenance"]["sections"]["C2"]["tissue_mm2"]
    assert area == pytest.approx(187 * 0.04, rel=0.1)
    assert len(study.tiles) == pytest.approx(area / 0.224**2, rel=0.1)
