"""Objects by address, in memory and on servers of S3 and GCS that fail as told."""

import os

import pytest
from made_bucket import (
    SERVERS,
    Faulty,
    another_machine,
    bucket_server,
    empty_store,
    nth,
)

from pathjax.buckets import BucketError, is_address, store

CONTENT = bytes(range(256)) * 1200 + b"\r"  # a line end, to be kept


@pytest.fixture
def memory(tmp_path, monkeypatch):
    another_machine(tmp_path / "cache", monkeypatch)
    return empty_store()


@pytest.fixture(params=SERVERS)
def scheme(request):
    return request.param


@pytest.fixture
def server(scheme, tmp_path, monkeypatch):
    another_machine(tmp_path / "cache", monkeypatch)
    with bucket_server(scheme, monkeypatch) as server:
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
def test_a_server(server, scheme, tmp_path):
    path, target = tmp_path / "f", tmp_path / "g"
    path.write_bytes(CONTENT)
    bucket = f"{scheme}://bkt"
    stat = store.upload(path, f"{bucket}/x/f")
    assert store.listing(bucket) == {f"{bucket}/x/f": stat}
    assert store.stat(f"{bucket}/x") is None and store.read(f"{bucket}/n") is None
    for word in ("slow", "cut", "503 Slow Down"):
        target.unlink(missing_ok=True)
        hit = nth({"GET"}, 0, word, times=2)
        server.fault = lambda method, path, hit=hit: hit(method, path)
        store.download(f"{bucket}/x/f", target, stat)
        assert target.read_bytes() == CONTENT
    for word in ("cut", "503 Slow Down"):
        hit = nth({"PUT", "POST"}, 0, word)
        server.fault = lambda method, path, hit=hit: hit(method, path)
        assert store.upload(path, f"{bucket}/{word[0]}").size == len(CONTENT)
    server.fault = lambda method, path: None
    store.write(f"{bucket}/x/f", CONTENT[::-1])
    with pytest.raises(BucketError, match="was replaced while it was read"):
        store.download(f"{bucket}/x/f", target, stat)
    store.remove([f"{bucket}/x/f", f"{bucket}/x/f"])
    assert store.stat(f"{bucket}/x/f") is None and store.listing(f"{bucket}/x") == {}
    with pytest.raises(BucketError, match="the bucket may not exist"):
        store.upload(path, f"{scheme}://nobody-has-this/f")


@pytest.mark.parametrize("scheme", ["gs"])
def test_a_large_object_is_there_whole_or_not_at_all(server, scheme, tmp_path):
    """Google takes it in parts, of a session that is yet to be completed."""
    path, address = tmp_path / "f", f"{scheme}://bkt/f"
    path.write_bytes(CONTENT * 20)  # more than gcsfs sends in one request
    sent = nth({"POST"}, 1, "cut", times=999)  # after that for a session
    server.fault = lambda method, path: sent(method, path)
    with pytest.raises(BucketError, match="could not be written"):
        store.upload(path, address)
    server.fault = lambda method, path: None
    assert store.stat(address) is None and store.listing(f"{scheme}://bkt") == {}
    stat = store.upload(path, address)
    store.download(address, tmp_path / "g", stat)
    assert (tmp_path / "g").read_bytes() == path.read_bytes()


WITHOUT = {"s3": "AWS_ACCESS_KEY_ID", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}


def test_a_server_without_credentials(server, scheme, monkeypatch, tmp_path, caplog):
    import fsspec

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    fsspec.get_filesystem_class(scheme).clear_instance_cache()
    server.fault = lambda method, path: "401 Unauthorized"
    message = f"no valid credentials were found; set {WITHOUT[scheme]}"
    with pytest.raises(BucketError, match=message):
        store.stat(f"{scheme}://bkt/f")
    # gcsfs has a traceback to log.
    assert not [one for one in caplog.records if one.name == "gcsfs"]


def test_a_server_that_refuses(server, scheme, caplog):
    server.fault = lambda method, path: "403 Forbidden"
    for call in (store.stat, store.listing, lambda address: store.write(address, b"")):
        asked = len(server.asked)
        with pytest.raises(
            BucketError, match="may not be .* the credentials that were"
        ):
            call(f"{scheme}://bkt/f")
        assert len(server.asked) - asked <= 3
    assert not [one for one in caplog.records if one.name == "gcsfs"]


def test_what_identifies_an_object_of_google():
    """A change of its metadata, such as of its storage class, is none of its content."""
    entry = {"size": 3, "generation": "17", "metageneration": "1", "etag": "a"}
    changed = entry | {"metageneration": "2", "etag": "b"}
    assert store._stat(entry) == store._stat(changed) == store.Stat(3, "17")
