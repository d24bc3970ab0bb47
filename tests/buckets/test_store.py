"""Objects by address, in memory and on an S3 server that fails as told."""

import os

import pytest
from made_bucket import Faulty, another_machine, empty_store, nth, s3_server

from pathjax.buckets import BucketError, is_address, store

CONTENT = bytes(range(256)) * 1200


@pytest.fixture
def memory(tmp_path, monkeypatch):
    another_machine(tmp_path / "cache", monkeypatch)
    return empty_store()


@pytest.fixture
def s3(tmp_path, monkeypatch):
    another_machine(tmp_path / "cache", monkeypatch)
    with s3_server(monkeypatch) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://b/k", True),
        ("s3:/b/k", True),  # what Path makes of it
        ("memory://k", True),
        ("/s3/b", False),
        ("runs/r1", False),
        ("https://host/page", False),
        ("tcp://10.0.0.1:8786", False),  # --scheduler
        ("tuned=s3://b/k", False),
        ("a:/b", False),
    ],
)
def test_what_is_an_address(path, expected):
    assert is_address(path) == expected


def test_addresses_that_are_refused():
    for address, message in (
        ("s3://", "SCHEME://BUCKET/KEY"),
        ("s3://b/../c", "without . and .."),
        ("nope://b/c", "nope"),
    ):
        with pytest.raises(BucketError, match=message):
            store.stat(address)
    with pytest.raises(BucketError, match="credentials belong in the env") as error:
        store.stat("s3://me:hush@b/k")
    assert "hush" not in str(error.value)


def test_a_package_that_is_missing_is_named(monkeypatch):
    import fsspec

    def without(scheme, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", without)
    with pytest.raises(BucketError, match=r"Install s3fs.*pathjax\[buckets\]"):
        store.stat("s3://b/k")


def test_objects_by_address(memory, tmp_path):
    path = tmp_path / "f"
    path.write_bytes(CONTENT)
    there = store.upload(path, "faulty://b/x/f")
    assert there.size == len(CONTENT) and there == store.stat("faulty://b/x/f")
    store.write("faulty://b/x/g", b"two")
    assert store.listing("faulty://b/x")["faulty://b/x/f"] == there
    assert store.read("faulty://b/x/g") == b"two" and store.read("faulty://b/n") is None
    assert store.stat("faulty://b/x") is None  # a folder
    assert store.listing("faulty://b/n") == {}
    store.remove(["faulty://b/x/f", "faulty://b/x/f"])
    assert store.stat("faulty://b/x/f") is None


def test_what_passes_is_tried_again_and_what_does_not_is_named(memory, tmp_path):
    path, target = tmp_path / "f", tmp_path / "g"
    path.write_bytes(CONTENT)
    Faulty.fault = staticmethod(nth({"put", "get"}, 0, times=3))
    stat = store.upload(path, "faulty://b/f")
    Faulty.fault = staticmethod(nth({"put", "get"}, 0, times=3))
    store.download("faulty://b/f", target, stat)
    assert target.read_bytes() == CONTENT
    Faulty.fault = staticmethod(nth({"put", "get"}, 0, times=99))
    with pytest.raises(BucketError, match="after 4 attempts: ConnectionResetError"):
        store.download("faulty://b/f", target, stat)
    path.write_bytes(b"other")
    with pytest.raises(BucketError, match="faulty://b/f could not be written"):
        store.upload(path, "faulty://b/f")
    assert store.read("faulty://b/f") == CONTENT


def test_an_object_that_is_replaced_meanwhile_is_refused(memory, tmp_path):
    store.write("faulty://b/f", b"old")
    stat = store.stat("faulty://b/f")
    store.write("faulty://b/f", b"new")
    with pytest.raises(BucketError, match="was replaced while it was read"):
        store.download("faulty://b/f", tmp_path / "f", stat)


class NoCredentialsError(Exception):
    """Called as botocore's."""


def test_credentials_are_asked_for_once_and_never_shown(memory, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    asked, errors = [], []

    def fault(operation, key):
        asked.append(key)
        raise errors[0]("hush-hush was refused")

    Faulty.fault = staticmethod(fault)
    for kind in (NoCredentialsError, PermissionError, TimeoutError):
        errors[:] = [kind]
        with pytest.raises(BucketError, match="faulty://b/k") as error:
            store.stat("faulty://b/k")
        assert "hush" not in str(error.value) and error.value.__cause__ is None
    assert len(asked) == 1 + 1 + 4


@pytest.mark.slow
def test_s3(s3, tmp_path):
    path, target = tmp_path / "f", tmp_path / "g"
    path.write_bytes(CONTENT)
    stat = store.upload(path, "s3://bkt/x/f")
    assert store.listing("s3://bkt") == {"s3://bkt/x/f": stat}
    assert store.stat("s3://bkt/x") is None and store.read("s3://bkt/n") is None
    for word in ("slow", "cut", "busy"):
        target.unlink(missing_ok=True)
        hit = nth({"GET"}, 0, word, times=2)
        s3.fault = lambda method, path, hit=hit: hit(method, path)
        store.download("s3://bkt/x/f", target, stat)
        assert target.read_bytes() == CONTENT
    for word in ("cut", "busy"):
        hit = nth({"PUT"}, 0, word)
        s3.fault = lambda method, path, hit=hit: hit(method, path)
        assert store.upload(path, f"s3://bkt/{word}").size == len(CONTENT)
    s3.fault = lambda method, path: None
    with pytest.raises(BucketError, match="the bucket may not exist"):
        store.upload(path, "s3://nobody-has-this/f")


def test_s3_without_credentials(s3, monkeypatch, tmp_path):
    import fsspec

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(BucketError, match="no credentials were found; set AWS_ACC"):
        store.stat("s3://bkt/f")
