"""Local copies: fetched when needed, within the limit, whole; and uploads of what is written."""

import concurrent.futures
import json
import os
import threading

import numpy as np
import pytest
from made_bucket import Faulty, another_machine, bucket_server, empty_store, nth
from tiny_study import build_tiny_study

from pathjax.buckets import (
    BucketError,
    address_of,
    cache,
    has,
    hold,
    local,
    shown,
    store,
)
from pathjax.data.study import Study, StudyError
from pathjax.files import atomic_path, write_json

STUDY = "faulty://b/study"


@pytest.fixture
def copies(tmp_path, monkeypatch):
    empty_store()
    return another_machine(tmp_path / "cache", monkeypatch)


@pytest.fixture
def put_study(copies, tiny_study):
    for path in tiny_study.root.rglob("*"):
        if path.is_file():
            name = path.relative_to(tiny_study.root)
            store.upload(path, f"{STUDY}/{name.as_posix()}")


def kept(copies, suffix=""):
    return sorted(
        p.name for p in copies.rglob("*") if p.is_file() and p.match(f"*{suffix}")
    )


def counted():
    """A list that grows with every download."""
    asked = []

    def fault(operation, key):
        if operation == "get":
            asked.append(key)

    Faulty.fault = staticmethod(fault)
    return asked


def test_paths_and_addresses(copies, tmp_path):
    assert local(tmp_path / "run") == tmp_path / "run" and local("run").name == "run"
    path = local("faulty://b/run")
    assert path == copies / "faulty" / "b" / "run" == cache.copy_of("faulty:/b/run/")
    assert address_of(path) == "faulty://b/run" and address_of(tmp_path) is None
    assert shown(f"{path}/x: damaged") == "faulty://b/run/x: damaged"
    assert hold(tmp_path / "f") is None and not has(tmp_path / "f")


def test_a_study_is_read_from_a_bucket(put_study, copies, tiny_study):
    asked = counted()
    study = Study(STUDY)
    assert study.fingerprint == tiny_study.fingerprint
    assert study.samples.equals(tiny_study.samples)
    assert not kept(copies, ".array_record")
    rows = [70, 0, 3, 4, 1]
    assert study.tile_bytes(rows) == tiny_study.tile_bytes(rows)
    assert len(kept(copies, ".array_record")) == 3 < len(study.meta["shards"])
    before = len(asked)
    Study(STUDY).tile_bytes(rows)
    assert len(asked) == before


def test_what_changed_in_the_bucket_is_read_again(copies, monkeypatch, tmp_path):
    store.write("faulty://b/run/a", b"old")
    store.write("faulty://b/run/gone", b"x")
    asked = counted()
    assert (local("faulty://b/run") / "a").read_bytes() == b"old"
    store.write("faulty://b/run/a", b"new")
    store.remove(["faulty://b/run/gone"])
    assert (local("faulty://b/run") / "a").read_bytes() == b"old"  # the same process
    another_machine(tmp_path / "cache", monkeypatch)
    work = copies / "faulty/b/run/x.h5.partial/rows"
    work.parent.mkdir()
    work.write_bytes(b"unfinished")
    (copies / "faulty/b/run/never-uploaded").write_bytes(b"x")
    assert (local("faulty://b/run") / "a").read_bytes() == b"new"
    assert kept(copies) == ["a", "rows"]
    assert sorted(asked) == ["b/run/a", "b/run/a", "b/run/gone"]


def test_the_least_recently_used_make_room(put_study, copies, tiny_study, monkeypatch):
    shards = [one["path"] for one in tiny_study.meta["shards"]]
    sizes = {p: (tiny_study.root / p).stat().st_size for p in shards}
    local(STUDY)
    tables = sum(path.stat().st_size for path in copies.rglob("*") if path.is_file())
    room = tables + sum(sorted(sizes.values())[-3:]) + 10
    monkeypatch.setenv(cache.LIMIT, str(room / 1e9))
    root = cache.copy_of(STUDY)
    held = hold(root / shards[0])
    for number, shard in enumerate(shards[1:]):
        hold(root / shard).close()
        os.utime(cache._tag_path(f"{STUDY}/{shard}"), (number, number))
        assert (root / shards[0]).exists()
    names = [os.path.basename(shard) for shard in shards]
    assert kept(copies, ".array_record") == [names[0], *names[-2:]]
    held.close()
    os.utime(cache._tag_path(f"{STUDY}/{shards[0]}"), (0, 0))
    hold(root / shards[1]).close()
    assert not (root / shards[0]).exists()
    assert (root / "tiles.parquet").exists()  # of a folder that is in use
    used = [path.stat().st_size for path in copies.rglob("*") if path.is_file()]
    assert sum(used) <= room


def test_threads_that_lack_one_shard_at_once_all_have_it(
    put_study, tiny_study, monkeypatch
):
    """None waits for another, which keeps the copy, to let go of it."""
    shard = local(STUDY) / tiny_study.meta["shards"][0]["path"]
    both, read, thread = threading.Barrier(2), cache._read_tag, threading.local()

    def read_together(tag, path):
        found = read(tag, path)
        if not hasattr(thread, "came"):
            thread.came = both.wait(20)
        return found

    monkeypatch.setattr(cache, "_read_tag", read_together)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(hold, shard) for _ in range(2)]
        done = concurrent.futures.wait(futures, timeout=5).done
        for future in done:  # lets one that waits go on
            future.result().close()
    assert len(done) == 2


def test_a_copy_that_is_read_while_its_object_is_replaced(
    copies, monkeypatch, tmp_path
):
    """It stays as it is; who wants the new object is told so, and has it afterwards."""
    address = f"faulty://b/shard{cache.SHARD}"
    path = cache.copy_of(address)
    store.write(address, b"old")
    held = hold(path)
    store.write(address, b"new")
    another_machine(tmp_path / "cache", monkeypatch)  # another process of this one
    monkeypatch.setattr(cache, "HELD_SECONDS", 0.05)
    with pytest.raises(
        BucketError, match=r"shard.* was replaced, and .*XDG_CACHE_HOME"
    ):
        hold(path)
    assert path.read_bytes() == b"old"
    held.close()
    hold(path).close()
    assert path.read_bytes() == b"new"


def test_all_tiles_through_a_cache_that_holds_some(
    put_study, copies, tiny_study, monkeypatch
):
    files = tiny_study.meta["files"].items()
    sizes = {name: one["bytes"] for name, one in files}
    tiles = sum(size for name, size in sizes.items() if name.endswith(cache.SHARD))
    study = Study(STUDY)
    tables = sum(path.stat().st_size for path in copies.rglob("*") if path.is_file())
    monkeypatch.setenv(cache.LIMIT, str((tables + tiles // 3) / 1e9))
    monkeypatch.setattr("pathjax.data.records.OPEN_READERS", 4)
    rows = range(len(study))
    for _ in range(2):
        assert study.tile_bytes(rows) == tiny_study.tile_bytes(rows)
    there = len(kept(copies, cache.SHARD))
    assert 4 <= there <= len(study.meta["shards"]) // 3


def test_a_cache_that_is_too_small_says_so(put_study, monkeypatch, caplog):
    monkeypatch.setenv(cache.LIMIT, "1e-6")
    with pytest.raises(BucketError, match=r"may take 1e-06 GB.*raise PATHJAX_CACHE_GB"):
        Study(STUDY)
    monkeypatch.setenv(cache.LIMIT, "much")
    with pytest.raises(BucketError, match="PATHJAX_CACHE_GB=much: expected gigabytes"):
        Study(STUDY)


def test_more_tiles_than_the_cache_takes_are_logged(put_study, monkeypatch, caplog):
    root = local(STUDY)
    monkeypatch.setenv(cache.LIMIT, "1e-6")
    assert cache.most_open(root, [400, 300], 256) == 1 and not caplog.text
    assert cache.most_open(root, [900, 300], 256) == 1
    assert "downloaded again and again, whole, for each tile" in caplog.text
    assert "set PATHJAX_CACHE_GB=1 or more" in caplog.text
    assert cache.most_open(root.parent.parent.parent.parent, [900], 256) == 256


@pytest.mark.slow
def test_bytes_of_an_epoch_in_random_order(tmp_path, monkeypatch):
    """Of shards that are touched, those that are not there are downloaded, whole."""
    made = build_tiny_study(tmp_path / "study", patients=24)
    random = np.random.default_rng(0)
    epochs = [random.permutation(len(made)).reshape(-1, 8) for _ in range(2)]
    touches = sum(len(set(rows // 3)) for rows in epochs[1])  # three tiles a shard
    most = touches / len(made.meta["shards"])
    files = made.meta["files"].items()
    tiles = sum(one["bytes"] for name, one in files if name.endswith(cache.SHARD))
    with bucket_server("s3", monkeypatch) as server:
        for path in made.root.rglob("*"):
            if path.is_file():
                name = path.relative_to(made.root).as_posix()
                store.upload(path, f"s3://bkt/study/{name}")
        for part in (1, 0.5, 0.25):  # of the tiles
            copies = another_machine(tmp_path / f"cache-{part}", monkeypatch)
            study = Study("s3://bkt/study")
            tables = sum(p.stat().st_size for p in copies.rglob("*") if p.is_file())
            room = tables + part * tiles * 1.001
            monkeypatch.setenv(cache.LIMIT, str(room / 1e9))
            sent = []
            for batches in epochs:
                before = server.sent
                for rows in batches:
                    assert study.tile_bytes(rows) == made.tile_bytes(rows)
                sent.append((server.sent - before) / tiles)
            print(f"cache {part:.0%} of the tiles: {sent[0]:.2f}, {sent[1]:.2f} times")
            assert 0.9 * most * (1 - part) <= sent[1] <= most
            assert part < 1 or sent == [pytest.approx(1), 0]
        assert sent[1] > 2


@pytest.mark.parametrize("number", range(4))
def test_a_download_that_breaks_leaves_nothing(
    put_study, copies, number, monkeypatch, tmp_path
):
    Faulty.fault = staticmethod(nth({"get"}, number, times=4 * cache.AT_ONCE))
    with pytest.raises(BucketError, match="the connection was cut"):
        Study(STUDY)
    for path in copies.rglob("*.*"):
        address = address_of(path)
        assert path.is_dir() or path.read_bytes() == store.read(address)
    another_machine(tmp_path / "cache", monkeypatch)
    Faulty.fault = staticmethod(lambda operation, key: None)
    assert len(Study(STUDY).samples) == 12


def test_an_object_that_is_listed_late_is_read_by_its_name(put_study, tiny_study):
    names = ("study.json", "samples.parquet", "splits/main.json", "P00a.array_record")
    Faulty.fault = staticmethod(
        lambda operation, key: (
            "hide" if operation == "list" and key.endswith(names) else None
        )
    )
    study = Study(STUDY)
    assert study.samples.equals(tiny_study.samples)
    assert study.tile_bytes([0, 40]) == tiny_study.tile_bytes([0, 40])


def test_what_the_bucket_lacks_is_named(put_study):
    store.remove([f"{STUDY}/samples.parquet"])
    with pytest.raises(
        StudyError, match="lacks 1 of its files, first .'samples.parquet"
    ):
        Study(STUDY)
    with pytest.raises(StudyError, match=r"has no study.json"):
        Study("faulty://b/nothing")


def test_files_are_uploaded_when_they_are_whole(copies):
    out = local("faulty://b/out")
    write_json(out / "results.json", {"a": 1})
    assert (
        store.read("faulty://b/out/results.json") == (out / "results.json").read_bytes()
    )
    with pytest.raises(ZeroDivisionError), atomic_path(out / "x.h5") as partial:
        partial.write_bytes(b"half")
        raise ZeroDivisionError
    Faulty.fault = staticmethod(nth({"put"}, 0, times=4))
    with pytest.raises(
        BucketError, match="faulty://b/out/results.json could not be wri"
    ):
        write_json(out / "results.json", {"a": 2})
    assert json.loads(store.read("faulty://b/out/results.json")) == {"a": 1}
    assert list(store.listing("faulty://b/out")) == ["faulty://b/out/results.json"]


def test_what_was_uploaded_is_not_downloaded(copies, tmp_path, monkeypatch):
    write_json(local("faulty://b/out") / "config.json", {"a": 1})
    another_machine(tmp_path / "cache", monkeypatch)
    asked = counted()
    assert json.loads((local("faulty://b/out") / "config.json").read_text()) == {"a": 1}
    assert asked == []


@pytest.mark.parametrize("above", ["checkpoints", "profile", ".mine", "old.partial"])
def test_what_is_above_the_folder_in_use_may_have_any_name(
    copies, above, tmp_path, monkeypatch
):
    """Only a run's own folders of these names are left alone."""
    address = f"faulty://b/{above}/run"
    write_json(local(address) / "results.json", {"a": 1})
    write_json(local(address) / "checkpoints/1/SHA256SUMS", {})
    assert list(store.listing(address)) == [f"{address}/results.json"]
    store.write(f"{address}/checkpoints/2/state", b"x")
    there = another_machine(tmp_path / "another", monkeypatch)
    assert json.loads((local(address) / "results.json").read_text()) == {"a": 1}
    assert kept(there) == ["results.json"]
