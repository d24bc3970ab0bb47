"""Records by global number, against ArrayRecord's own data source, from threads too."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from pathjax.data.records import Records

COUNTS = (3, 1, 7)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("shards"), []
    for shard, count in enumerate(COUNTS):
        path = folder / f"{shard}.array_record"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for i in range(count):
            writer.write(f"{shard}/{i}".encode() * (i + 1))
        writer.close()
        paths.append(path)
    return paths


def test_any_rows_in_any_order(shards):
    records = Records(shards, COUNTS)
    wanted = ArrayRecordDataSource([str(path) for path in shards])
    assert len(records) == len(wanted) == 11
    rows = [10, 0, 3, 3, 2, 4, 9]
    assert records.read(rows) == list(wanted.__getitems__(rows))
    assert records.read(np.array([], np.int64)) == []
    assert len(Records([], [])) == 0


@pytest.mark.parametrize("most", [1, 2, 256])
def test_threads_share_readers(shards, most):
    records = Records(shards, COUNTS, most)
    wanted = Records(shards, COUNTS).read(range(11))
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: records.read(range(11)), range(200))
        assert all(one == wanted for one in found)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts file handles")
def test_few_shards_are_open_at_a_time(shards, tmp_path):
    links = [tmp_path / f"{i}.array_record" for i in range(40)]
    for link in links:
        os.link(shards[2], link)

    def opened():
        handles = [f"/proc/self/fd/{one}" for one in os.listdir("/proc/self/fd")]
        return sum(os.path.realpath(one).startswith(str(tmp_path)) for one in handles)

    records = Records(links, [7] * 40, most=5)
    assert len(records) == 280 and opened() == 0
    for start in range(0, 280, 9):
        rows = range(start, min(start + 9, 280))
        assert records.read(rows) == [f"2/{i % 7}".encode() * (i % 7 + 1) for i in rows]
        assert 0 < opened() <= 5


@pytest.mark.parametrize("row", [-1, 11])
def test_no_such_record(shards, row):
    with pytest.raises(IndexError, match=f"record {row} of 11"):
        Records(shards, COUNTS).read([2, row])


def test_a_shard_that_is_none(shards, tmp_path):
    bad = tmp_path / "bad.array_record"
    bad.write_bytes(b"not a record file" * 100)
    records = Records([*shards, bad], [*COUNTS, 4])
    assert records.read([10])  # the others can be read
    with pytest.raises(ValueError, match=f"{bad} is not a complete ArrayRecord file"):
        records.read([11])


def test_a_shard_of_another_length(shards):
    with pytest.raises(ValueError, match="has 7 records, study.json says 8"):
        Records(shards, (3, 1, 8)).read([11])
    with pytest.raises(ValueError, match="3 shards and 2 counts"):
        Records(shards, (3, 8))
