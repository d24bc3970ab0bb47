"""A study of slides: whole by the checker, broken slides named, only what is missing."""

import os

import h5py
import numpy as np
import pandas as pd
import pytest
from made_slides import glass, slide, write_tiff
from PIL import Image

from pathjax.cli import main
from pathjax.data.check import check_study
from pathjax.data.study import StudyError
from pathjax.parallel.lock import exclusive
from pathjax.parallel.shard import Shard
from pathjax.wsi import build
from pathjax.wsi.build import tile_study
from pathjax.wsi.options import TileOptions

SMALL = TileOptions(tile_px=64)


@pytest.fixture
def slides(tmp_path):
    """Three good slides among a blank, a truncated and one without mpp."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed, name in enumerate("ace"):
        write_tiff(folder / f"{name}.tif", slide(400, 500, seed), 0.5)
    write_tiff(folder / "b.tif", glass(400, 500), 0.5)
    data = write_tiff(folder / "d.tif", slide(400, 500), 0.5).read_bytes()
    (folder / "d.tif").write_bytes(data[:-30_000])
    write_tiff(folder / "f.tif", slide(400, 500), None)
    return folder


def content(root):
    """Bytes of all files by name, less study.json, which tells the time."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "study.json"
    }


def shard_times(root):
    return {path.name: path.stat().st_mtime_ns for path in (root / "tiles").iterdir()}


def test_good_slides_make_a_study_and_bad_ones_are_named(slides, tmp_path):
    said = []
    study = tile_study(
        slides, tmp_path / "s", SMALL, workers=1, progress=lambda *a: said.append(a)
    )
    assert check_study(study).problems == ()
    table = study.slides
    assert table["slide_id"].tolist() == [*"abcdef"]
    assert table["status"].tolist() == ["tiled", "skipped"] * 3
    tiled = table[table["status"] == "tiled"]
    assert tiled["first_row"].tolist() == [0, *tiled["tiles"].cumsum()[:-1]]
    reasons = dict(zip(table["slide_id"], table["reason"], strict=True))
    assert "no tile has 0.35 of tissue" in reasons["b"]
    assert "d.tif" in reasons["d"] and "per pixel unknown" in reasons["f"]
    skipped = [{"what": one, "reason": reasons[one]} for one in "bdf"]
    assert study.meta["skipped"] == skipped
    assert [done for done, *_ in said] == [1, 2, 3, 4, 5, 6]
    assert study.samples["sample_id"].tolist() == [*"ace"]
    assert study.split("all").folds == {"all": ("a", "c", "e")}
    assert study.tiles["tile_id"].is_unique and len(study) == tiled["tiles"].sum()


@pytest.mark.parametrize("count", [2, 4])
def test_shards_join_to_the_study_of_one_process(slides, tmp_path, count, capsys):
    once = tile_study(slides, tmp_path / "once", SMALL, workers=1)
    out = tmp_path / "joined"
    words = ["tile", "--slides", str(slides), "--out", str(out), "--tile-px=64"]
    words += ["--workers=1", "--strict", "--shard"]
    statuses = [main([*words, f"{k}/{count}"]) for k in range(count, 0, -1)]
    assert statuses == {2: [1, 0], 4: [1, 0, 1, 0]}[count]  # b, d and f are skipped
    assert not (out / "study.json").exists() and not (out / "tiles.parquet").exists()
    text = capsys.readouterr().out
    assert f"{out}, shard 1/{count}: " in text and "skipped b: no tile has 0.35" in text
    times = shard_times(out)
    with exclusive(out / ".build" / f"shard-1-of-{count}.lock", ValueError, ""):
        for shard in (Shard(1, count), None):
            with pytest.raises(StudyError, match="in use by another process .pid"):
                tile_study(slides, out, SMALL, workers=1, shard=shard)
    joined = tile_study(slides, out, SMALL, workers=1)
    assert shard_times(out) == times and joined.fingerprint == once.fingerprint
    assert joined.meta["skipped"] == once.meta["skipped"]
    both = [content(root) for root in (out, tmp_path / "once")]
    assert {k: v for k, v in both[0].items() if not k.endswith(".lock")} == both[1]


def test_a_manifest_joins_slides_to_samples(slides, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "path,patient_id,sample_id,site,mpp\n"
        "slides/e.tif,P1,S1,Oslo,\nslides/a.tif,P1,S1,Oslo,\nslides/f.tif,P2,f,,0.5\n"
    )
    study = tile_study(manifest, tmp_path / "s", SMALL, workers=1)
    assert check_study(study).problems == ()
    assert study.slides["slide_id"].tolist() == ["e", "a", "f"]
    assert study.samples.values.tolist() == [
        ["S1", "P1", "Oslo"],
        ["f", "P2", "unknown"],
    ]
    assert set(study.tiles["sample_id"]) == {"S1", "f"}


def test_a_second_run_does_what_is_missing(slides, tmp_path):
    root = tmp_path / "s"
    tile_study(slides, root, SMALL, workers=1)
    before, times = content(root), shard_times(root)
    tile_study(slides, root, SMALL, workers=1)
    assert content(root) == before and shard_times(root) == times
    # A slide that was mended, one that was added.
    write_tiff(slides / "d.tif", slide(400, 500, 9), 0.5)
    write_tiff(slides / "g.tif", slide(400, 500, 8), 0.5)
    study = tile_study(slides, root, SMALL, workers=1)
    assert check_study(study).problems == ()
    assert study.samples["sample_id"].tolist() == [*"acdeg"]
    after = shard_times(root)
    assert set(after) - set(times) == {"d.array_record", "g.array_record"}
    assert {name: after[name] for name in times} == times
    fresh = tile_study(slides, tmp_path / "fresh", SMALL, workers=1)
    assert content(fresh.root) == content(root)


def test_an_interrupted_run_goes_on(slides, tmp_path, monkeypatch):
    whole = tile_study(slides, tmp_path / "whole", SMALL, workers=1)
    root, inner = tmp_path / "cut", build.tile_slide

    def stop_at_c(row, **options):
        if row.slide_id == "c":
            partial = root / "tiles" / ".partial-1-c.array_record"
            partial.write_bytes(b"half")  # what a killed process leaves
            raise KeyboardInterrupt
        return inner(row, **options)

    with monkeypatch.context() as patch:
        patch.setattr(build, "tile_slide", stop_at_c)
        with pytest.raises(KeyboardInterrupt):
            tile_study(slides, root, SMALL, workers=1)
    assert not (root / "study.json").exists()
    times = shard_times(root)
    tile_study(slides, root, SMALL, workers=1)
    assert content(root) == content(whole.root)
    assert shard_times(root)["a.array_record"] == times["a.array_record"]


def test_skipped_slides_are_tried_again_where_asked(slides, tmp_path):
    root, path = tmp_path / "s", slides / "d.tif"
    broken = path.stat()
    tile_study(slides, root, SMALL, workers=1)
    data = write_tiff(path, slide(400, 500), 0.5).read_bytes()
    path.write_bytes(data)
    # Looks the same from outside: only asking for it helps.
    os.truncate(path, len(data))
    note = root / ".build" / "d.slide.json"
    text = note.read_text().replace(str(broken.st_size), str(len(data)))
    note.write_text(text.replace(str(broken.st_mtime_ns), str(path.stat().st_mtime_ns)))
    assert len(tile_study(slides, root, SMALL, workers=1).samples) == 3
    again = tile_study(slides, root, SMALL, workers=1, retry_skipped=True)
    assert again.samples["sample_id"].tolist() == [*"acde"]


def test_no_study_of_nothing(slides, tmp_path):
    for name in "ace":
        (slides / f"{name}.tif").unlink()
    with pytest.raises(StudyError, match=r"no shard .*no tile has"):
        tile_study(slides, tmp_path / "s", SMALL, workers=1)
    assert not (tmp_path / "s" / "study.json").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no slide"):
        tile_study(tmp_path / "empty", tmp_path / "t", SMALL, workers=1)
    assert not (tmp_path / "t").exists()


def test_a_study_among_its_slides_is_refused(slides):
    """Its thumbnails would be the next run's slides."""
    with pytest.raises(ValueError, match="s is inside the folder of slides"):
        tile_study(slides, slides / "s", SMALL, workers=1)
    assert not (slides / "s").exists()


def test_a_folder_that_workers_do_not_share_is_named(slides, tmp_path, monkeypatch):
    monkeypatch.setattr(
        build,
        "tile_slide",
        lambda row, **_: build.SlideReport(row.slide_id, "tiled", tiles=3),
    )
    with pytest.raises(StudyError, match="do all workers see this folder"):
        tile_study(slides, tmp_path / "s", SMALL, workers=1)


def test_the_advice_on_mpp_leads_to_success(tmp_path):
    """Tags of 72 dpi, which a converter wrote: refused, then given by the user."""
    folder, out = tmp_path / "slides", tmp_path / "s"
    folder.mkdir()
    write_tiff(folder / "a.tif", slide(400, 500), 352.8)
    write_tiff(folder / "b.tif", slide(400, 500), 0.5)
    study = tile_study(folder, out, SMALL, workers=1)
    (skipped,) = study.meta["skipped"]
    assert skipped["what"] == "a" and "no scanner has" in skipped["reason"]
    assert "columns wsi,mpp (--mpp-csv)" in skipped["reason"]
    mpp = tmp_path / "mpp.csv"
    mpp.write_text("wsi,mpp\na.tif,0.5\n")
    study = tile_study(folder, out, SMALL, workers=1, mpp_csv=mpp)
    assert study.meta["skipped"] == [] and study.slides["mpp"].tolist() == [0.5, 0.5]
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,mpp\nslides/a.tif,0.5\n")
    study = tile_study(manifest, tmp_path / "t", SMALL, workers=1)
    assert study.slides["mpp_source"].tolist() == ["manifest"]


def test_a_slide_that_cannot_be_read_ends_no_run(slides, tmp_path):
    """Pictures that would come out black or grey, and faults of one file."""
    pixels = slide(400, 500)
    Image.fromarray(pixels[..., 1].astype(np.uint16) * 16).save(slides / "g.png")
    Image.fromarray(pixels[..., 1]).save(slides / "h.png")
    (slides / "i.svs").symlink_to(tmp_path / "gone.svs")
    mpp = tmp_path / "mpp.csv"
    mpp.write_text("wsi,mpp\ng.png,0.5\nh.png,0.5\n")
    study = tile_study(slides, tmp_path / "s", SMALL, workers=1, mpp_csv=mpp)
    reasons = dict(zip(study.slides["slide_id"], study.slides["reason"], strict=True))
    assert "expected 8 bits per channel, got 16" in reasons["g"]
    assert "expected colour, got mode L" in reasons["h"]
    assert "does not exist" in reasons["i"]
    assert study.samples["sample_id"].tolist() == [*"ace"]


def test_coordinates_leave_no_use_for_a_grid(tmp_path, capsys):
    words = ["tile", "--slides", str(tmp_path), "--out", str(tmp_path / "s")]
    words += ["--coordinates", str(tmp_path), "--overlap", "32", "--tissue", "otsu"]
    assert main(words) == 1
    assert "pathjax: --overlap would not be used" in capsys.readouterr().err


def test_a_seed_and_workers_that_nothing_uses_are_refused(tmp_path, capsys):
    words = ["tile", "--slides", str(tmp_path), "--out", str(tmp_path / "s")]
    assert main([*words, "--seed", "1"]) == 1
    assert "--seed would not be used: without --max-tiles" in capsys.readouterr().err
    assert main([*words, "--workers", "2", "--scheduler", "tcp://localhost:1"]) == 1
    assert "--workers would not be used: those of" in capsys.readouterr().err


def test_names_with_spaces_find_their_coordinates(tmp_path):
    folder, patches = tmp_path / "slides", tmp_path / "patches"
    folder.mkdir()
    patches.mkdir()
    write_tiff(folder / "Case 12 HE.tif", slide(400, 500), 0.5)
    with h5py.File(patches / "Case 12 HE_patches.h5", "w") as file:
        coords = file.create_dataset("coords", data=np.array([(0, 0), (64, 0)]))
        coords.attrs.update({"patch_size": 64, "patch_size_level0": 64})
    options = TileOptions(tile_px=64, coordinates=str(patches))
    study = tile_study(folder, tmp_path / "s", options, workers=1)
    assert study.tiles["tile_id"].tolist() == ["Case_12_HE_0_0", "Case_12_HE_64_0"]
    assert study.meta["skipped"] == []
    with pytest.raises(ValueError, match="expected a folder, got nowhere"):
        tile_study(folder, tmp_path / "t", TileOptions(coordinates="nowhere"))
    (patches / "gone_patches.h5").touch()
    study = tile_study(folder, tmp_path / "s", options, workers=1)
    (unused,) = study.meta["skipped"]
    assert unused["reason"].endswith("belong to no slide, first gone_patches.h5")


def test_the_command(slides, tmp_path, capsys):
    mpp = tmp_path / "mpp.csv"
    mpp.write_text("wsi,mpp\nf.tif,0.5\n")
    words = ["tile", "--slides", str(slides), "--tile-px", "64", "--workers", "1"]
    words += ["--mpp-csv", str(mpp), "--out", str(tmp_path / "s")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "4 slides tiled, 2 skipped" in said and "skipped d: " in said
    assert main([*words, "--strict"]) == 1
    table = pd.read_parquet(tmp_path / "s" / "slides.parquet")
    assert table["mpp_source"].iloc[-1] == "mpp-csv"
    assert main([*words, "--quality", "80"]) == 1
    assert "was begun with other parameters" in capsys.readouterr().err
    for name in "bd":
        (slides / f"{name}.tif").unlink()
    assert main([*words, "--strict"]) == 0
    mpp.write_text("Slide;MPP;Site\nF;0,5;\nC:\\x\\e.tif;0,5;\ng.tif;0,5;H1\n")
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "skipped line 4 of mpp.csv: 'g.tif' matches no slide" in said
    assert "4 slides tiled, 0 skipped, 1 other things not used" in said
    assert main([*words, "--strict"]) == 1


@pytest.mark.slow
def test_dask_workers_write_the_same_study(slides, tmp_path):
    alone = tile_study(slides, tmp_path / "alone", SMALL, workers=1)
    together = tile_study(slides, tmp_path / "together", SMALL, workers=2)
    assert content(alone.root) == content(together.root)
