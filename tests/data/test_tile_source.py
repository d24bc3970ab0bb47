"""Studies and folders as sources of tiles."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.data.study import StudyError
from pathjax.data.tile_source import ImageFolder, StudyTiles, _shared, open_source


def test_a_study_is_known_by_its_file_else_it_is_a_folder_of_images(
    tiny_study, tmp_path
):
    source = open_source(tiny_study.root)
    assert isinstance(source, StudyTiles) and source.kind == "study"
    assert source.name == "tiny" and source.fingerprint == tiny_study.fingerprint
    with pytest.raises(StudyError, match=r"no\s+study.json"):
        open_source(tmp_path)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    assert isinstance(open_source(tmp_path), ImageFolder)


def test_tiles_of_a_study_are_prepared_as_asked(tiny_study):
    source = StudyTiles(tiny_study)
    rows = np.array([5, 0, 71])
    halve = lambda tile: tile[::2, ::2]
    first, second = source.batches(rows, batch=2, px=16, prepare=halve)
    wanted = [decode_tile(data)[::2, ::2] for data in tiny_study.tile_bytes(rows)]
    np.testing.assert_array_equal(first["image"], wanted[:2])
    np.testing.assert_array_equal(second["image"][0], wanted[2])
    assert second["mask"].tolist() == [True, False]
    assert source.tile_ids(rows) == ["P00b2", "P00a0", "P11b2"]
    assert source.coords(rows).tolist() == [[64, 0], [0, 0], [64, 0]]
    assert len(source) == 72


def test_what_is_not_known_of_level_0_is_left_out(tiny_study):
    assert StudyTiles(tiny_study).attributes() == {
        "name": "tiny",
        "patch_size": 32,
        "target_magnification": 10.0,
    }


def made(root, mpp, source_mpp, places, slides):
    """As much of a study as attributes look at."""
    x, y = np.array(places).T
    tiles = pd.DataFrame({"mpp": mpp, "slide_id": slides, "x": x, "y": y})
    tiles.to_parquet(root / "tiles.parquet")
    samples = pd.DataFrame({"source_mpp": source_mpp})
    about = {"name": "made", "tile_px": 224, "root": root, "samples": samples}
    runs = tiles.assign(first_row=np.arange(len(tiles)), tiles=1)
    read = lambda rows, columns: tiles.iloc[rows][columns]
    return StudyTiles(SimpleNamespace(**about, runs=runs, tile_rows=read))


@pytest.mark.parametrize(
    ("places", "overlap"),
    [
        ([(0, 0), (448, 0), (0, 0)], 0),  # the last on another slide
        ([(0, 0), (336, 0), (0, 0)], 56),  # 448 - 336 pixels of level 0, halved
        ([(0, 0), (336, 448), (0, 0)], 0),
        ([(0, 0), (900, 0), (0, 0)], 0),
    ],
)
def test_level_0_where_the_samples_tell(places, overlap, tmp_path):
    found = made(tmp_path, 0.5, [0.25, 0.2505], places, ["a", "a", "b"]).attributes()
    assert found["patch_size_level0"] == 448
    assert found["level0_magnification"] == pytest.approx(40, rel=0.01)
    assert found["target_magnification"] == 20
    assert found["overlap"] == overlap


@pytest.mark.parametrize("source", [[0.25, 0.3], [0.25, np.nan]])
def test_slides_of_several_scales_have_no_common_level_0(source, tmp_path):
    found = made(tmp_path, 0.5, source, [(0, 0)], ["a"]).attributes()
    assert set(found) == {"name", "patch_size", "target_magnification"}
    assert (
        "target_magnification"
        not in made(
            tmp_path, [0.5, 1.0], [1.0], [(0, 0), (1, 1)], ["a", "b"]
        ).attributes()
    )


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_the_median_of_a_stream(count):
    values = np.random.default_rng(count).choice([0.5, 0.501, 0.502, 0.503], count)
    parts = np.array_split(values, 3)
    assert _shared(iter(parts)) == np.median(values)
    assert _shared([*parts, np.array([np.nan])]) is None
    assert _shared([]) is None
