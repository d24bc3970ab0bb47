"""Rows survive what kills a process: any cut of either file leaves a whole beginning."""

import json

import numpy as np
import pytest

from pathjax.embeddings import embedding_rows
from pathjax.embeddings.embedding_file import EmbeddingError
from pathjax.embeddings.embedding_rows import EmbeddingRows

WHO = {"model": "a", "input": "b", "pool": "cls", "preprocess": {"crop": 8}}
CHUNKS = [(4, []), (4, [(5, "broken")]), (2, [])]  # tiles, skipped


def features(rows, seed):
    return np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)


def fill(folder, chunks=range(3)):
    with EmbeddingRows(folder, WHO, 3) as rows:
        for i in chunks:
            tiles, skipped = CHUNKS[i]
            part = features(tiles - len(skipped), i)
            rows.append(part, tiles=tiles, skipped=skipped, sizes={(50, 40 + i)})


def contents(rows):
    return np.concatenate([*rows.blocks(), np.zeros((0, 3), np.float32)])


WHOLE = np.concatenate([features(4, 0), features(3, 1), features(2, 2)])
ENDS = {0: (0, 0), 1: (4, 4), 2: (8, 7), 3: (10, 9)}  # chunks: tiles, rows


def test_what_was_added_is_there_after_closing(tmp_path, monkeypatch):
    fill(tmp_path / "p", [0, 1])
    fill(tmp_path / "p", [2])
    monkeypatch.setattr(embedding_rows, "BLOCK_BYTES", 24)  # two rows
    with EmbeddingRows(tmp_path / "p", WHO, 3) as rows:
        assert (rows.tiles, rows.rows) == (10, 9)
        assert rows.skipped == [(5, "broken")]
        assert rows.sizes == {(50, 40), (50, 41), (50, 42)}
        assert max(len(block) for block in rows.blocks()) == 2
        np.testing.assert_array_equal(contents(rows), WHOLE)
    np.testing.assert_array_equal(contents(rows), WHOLE)  # after closing


@pytest.mark.parametrize("name", ["journal.jsonl", "rows.f32"])
def test_any_cut_leaves_whole_chunks_and_can_be_gone_on_from(tmp_path, name):
    fill(tmp_path / "whole")
    files = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob("[!.]*")}
    seen = set()
    folder = tmp_path / "cut"
    for length in range(0, len(files[name]), 3):
        folder.mkdir(exist_ok=True)
        for one, data in files.items():
            (folder / one).write_bytes(data[:length] if one == name else data)
        with EmbeddingRows(folder, WHO, 3) as rows:
            (chunks,) = [k for k, v in ENDS.items() if v == (rows.tiles, rows.rows)]
            np.testing.assert_array_equal(contents(rows), WHOLE[: rows.rows])
        seen.add(chunks)
        fill(folder, range(chunks, 3))
        for one, data in files.items():
            assert (folder / one).read_bytes() == data
    assert seen == {0, 1, 2}


def test_bytes_that_changed_are_not_believed(tmp_path):
    """A power cut can leave zeros where a file had grown already."""
    fill(tmp_path / "p")
    path = tmp_path / "p" / "rows.f32"
    data = bytearray(path.read_bytes())
    data[5 * 12 : 6 * 12] = bytes(12)
    path.write_bytes(data)
    with EmbeddingRows(tmp_path / "p", WHO, 3) as rows:
        assert (rows.tiles, rows.rows, rows.skipped) == (4, 4, [])
    journal = (tmp_path / "p" / "journal.jsonl").read_bytes()
    (tmp_path / "p" / "journal.jsonl").write_bytes(journal + bytes(40))
    with EmbeddingRows(tmp_path / "p", WHO, 3) as rows:
        assert rows.tiles == 4


@pytest.mark.parametrize("key", ["model", "input", "pool", "preprocess"])
def test_rows_of_something_else_are_refused_unless_told(tmp_path, key):
    fill(tmp_path / "p", [0])
    other = WHO | {key: "other"}
    with pytest.raises(EmbeddingError) as caught:
        EmbeddingRows(tmp_path / "p", other, 3)
    assert f"started with {key} {WHO[key]!r}, now 'other'" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    with EmbeddingRows(tmp_path / "p", WHO, 3) as rows:
        assert rows.tiles == 4  # it was left alone
    with EmbeddingRows(tmp_path / "p", other, 3, overwrite=True) as rows:
        assert rows.tiles == 0 and contents(rows).shape == (0, 3)


def test_another_layout_is_refused(tmp_path):
    fill(tmp_path / "p", [0])
    with pytest.raises(EmbeddingError, match="started with another layout"):
        EmbeddingRows(tmp_path / "p", WHO, 6)


def test_one_process_at_a_time(tmp_path):
    busy = pytest.raises(EmbeddingError, match="in use by another process .pid")
    with EmbeddingRows(tmp_path / "p", WHO, 3), busy:
        EmbeddingRows(tmp_path / "p", WHO, 3)
    with EmbeddingRows(tmp_path / "p", WHO, 3) as rows:
        assert rows.tiles == 0


def test_numbers_have_to_add_up(tmp_path):
    wrong = pytest.raises(ValueError, match=r"expected features \(3, 3\)")
    with EmbeddingRows(tmp_path / "p", WHO, 3) as rows, wrong:
        rows.append(features(4, 0), tiles=4, skipped=[(1, "x")], sizes=set())
    header = (tmp_path / "p" / "journal.jsonl").read_text().splitlines()
    assert len(header) == 1 and json.loads(header[0])["identity"] == WHO
