"""Shards: every row and item in one of them, whole batches, names and refusals."""

import pytest

from pathjax.parallel.shard import Shard, begun, missing


@pytest.mark.parametrize("count", [1, 2, 3, 4, 16])
@pytest.mark.parametrize(
    ("total", "batch"), [(0, 8), (5, 8), (64, 8), (1003, 8), (7, 1)]
)
def test_each_row_is_in_one_shard_and_shards_have_whole_batches(total, batch, count):
    parts = [Shard(k, count).rows(total, batch) for k in range(1, count + 1)]
    assert [row for part in parts for row in part] == list(range(total))
    assert all(part.start % batch == 0 or not part for part in parts)
    sizes = [-(-len(part) // batch) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_each_item_is_in_one_shard():
    parts = [Shard(k, 3).items("abcdefgh") for k in (1, 2, 3)]
    assert parts == [["a", "d", "g"], ["b", "e", "h"], ["c", "f"]]


def test_words():
    assert Shard.parse("3/16") == Shard(3, 16) and Shard.parse(None) is None
    assert str(Shard(3, 16)) == "3/16" and Shard(3, 16).name == "shard-3-of-16"
    for text in ("0/0", "0/4", "5/4", "-1/4", "a/b", "3", "1/", "1/2/3", "1.0/2", ""):
        with pytest.raises(ValueError, match="expected K/N with K from 1 to N"):
            Shard.parse(text)


def test_what_an_array_has_left_in_a_folder(tmp_path):
    assert begun(tmp_path / "none") == begun(tmp_path) == []
    for name in ("shard-2-of-3", "shard-1-of-3", "shard-x", "rows.f32"):
        (tmp_path / name).mkdir()
    assert begun(tmp_path) == [Shard(1, 3), Shard(2, 3), Shard(3, 3)]
    (tmp_path / "shard-1-of-10").touch()
    with pytest.raises(ValueError, match="shards of 3 and of 10"):
        begun(tmp_path)


def test_a_long_list_of_missing_shards_is_cut(tmp_path):
    lacking = [Shard(k, 1000) for k in range(2, 900)]
    text = missing(tmp_path, lacking, "9 tiles")
    assert "lacks 898 of 1000 shards" in text and "2/1000, 3/1000, " in text
    assert "11/1000, ..." in text and "12/1000" not in text
