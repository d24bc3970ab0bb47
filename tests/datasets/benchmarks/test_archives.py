"""Archives: whole or not at all, and nothing outside their folder."""

import gzip
import io
import tarfile
import zipfile

import pytest

from pathjax.datasets.benchmarks import BenchmarkError
from pathjax.datasets.benchmarks.acquire import unpack


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def tarred(path, members):
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


PACK = {".zip": zipped, ".tar.gz": tarred}


@pytest.mark.parametrize("kind", PACK)
def test_only_the_wanted_folder_is_written(tmp_path, kind):
    members = {"a/README": b"r", "a/b/c/x.png": b"1", "a/b/y.png": b"2", "a/bb/z": b"3"}
    archive = PACK[kind](tmp_path / f"a{kind}", members)
    unpack(archive, archive.name, "a/b", tmp_path / "out" / "target")
    written = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert written == {"target/c/x.png": b"1", "target/y.png": b"2"}


def test_an_archive_without_the_folder_is_the_folder(tmp_path):
    archive = zipped(tmp_path / "images.zip", {"MHIST_aaa.png": b"1"})
    unpack(archive, "images.zip", "images", tmp_path / "target")
    assert (tmp_path / "target" / "MHIST_aaa.png").read_bytes() == b"1"


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("name", ["../x", "a/../../x", "/tmp/x", "a\\..\\x", "C:/x"])
def test_members_that_lead_elsewhere_are_refused_whole(tmp_path, kind, name):
    archive = PACK[kind](tmp_path / f"a{kind}", {"a/good": b"1", name: b"2"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BenchmarkError, match="leads out of its folder, so nothing was"):
        unpack(archive, archive.name, "a", tmp_path / "target")
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_refused(tmp_path):
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        entry = tarfile.TarInfo("a/link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(entry)
    with pytest.raises(BenchmarkError, match="'a/link', which is a link"):
        unpack(archive, archive.name, "a", tmp_path / "target")
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        entry = zipfile.ZipInfo("a/link")
        entry.external_attr = 0o120777 << 16
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(BenchmarkError, match="'a/link', which is a link"):
        unpack(archive, archive.name, "a", tmp_path / "target")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.h5.gz"])
def test_damaged_archives(tmp_path, name):
    kind = "." + name.partition(".")[2]
    archive = tmp_path / name
    content = bytes(range(256)) * 500
    if kind in PACK:
        PACK[kind](archive, {"a/x": content})
    else:
        archive.write_bytes(gzip.compress(content))
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(BenchmarkError, match="is damaged"):
        unpack(archive, name, "a", tmp_path / "target")
    archive.write_bytes(b"<html>sign in</html>")
    with pytest.raises(BenchmarkError, match="is damaged"):
        unpack(archive, name, "a", tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_formats_are_not_read(tmp_path):
    (tmp_path / "a.rar").write_bytes(b"1")
    with pytest.raises(BenchmarkError, match=r"expected \.zip"):
        unpack(tmp_path / "a.rar", "a.rar", "", tmp_path / "target")
