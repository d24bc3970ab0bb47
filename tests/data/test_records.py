"""Records by global number, against ArrayRecord's own data source, from threads too."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from pathjax.data.records import Records


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder, paths = tmp_path_factory.mktemp("shards"), []
    for shard, count in enumerate((3, 1, 7)):
        path = folder / f"{shard}.array_record"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for i in range(count):
            writer.write(f"{shard}/{i}".encode() * (i + 1))
        writer.close()
        paths.append(path)
    return paths


def test_any_rows_in_any_order(shards):
    records = Records(shards)
    wanted = ArrayRecordDataSource([str(path) for path in shards])
    assert len(records) == len(wanted) == 11
    rows = [10, 0, 3, 3, 2, 4, 9]
    assert records.read(rows) == list(wanted.__getitems__(rows))
    assert records.read(np.array([], np.int64)) == []
    assert len(Records([])) == 0


def test_threads_share_readers(shards):
    records = Records(shards)
    wanted = records.read(range(11))
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: records.read(range(11)), range(200))
        assert all(one == wanted for one in found)


@pytest.mark.parametrize("row", [-1, 11])
def test_no_such_record(shards, row):
    with pytest.raises(IndexError, match=f"record {row} of 11"):
        Records(shards).read([2, row])


def test_a_shard_that_is_none(shards, tmp_path):
    bad = tmp_path / "bad.array_record"
    bad.write_bytes(b"not a record file" * 100)
    with pytest.raises(ValueError, match=f"1 of 4 shards .*{bad}"):
        len(Records([*shards, bad]))
