"""Files are found, downloaded without TensorFlow, and unpacked whole or not at all."""

import dataclasses
import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from extras import need

from pathjax.datasets.benchmarks import BENCHMARKS, BenchmarkError
from pathjax.datasets.benchmarks.acquire import acquire, unpack
from pathjax.datasets.benchmarks.build import build_benchmark


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def packed_crc(trees, tmp_path):
    """The two archives as published, and the set with their checksums."""
    folder = tmp_path / "archives"
    trees["crc"](tmp_path / "tree")
    parts = []
    for part in BENCHMARKS["crc"].parts:
        stem = str(folder / part.inside)
        made = shutil.make_archive(stem, "zip", tmp_path / "tree", part.inside)
        with open(made, "rb") as file:
            parts.append(dataclasses.replace(part, md5=md5(file.read())))
    counts = {"train": 18, "val": 18}
    crc = dataclasses.replace(
        BENCHMARKS["crc"], parts=tuple(parts), counts=counts, tile_px=8
    )
    return folder, crc


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_empty_folder_names_each_file_wanted_and_its_source(tmp_path, name):
    with pytest.raises(BenchmarkError) as caught:
        acquire(BENCHMARKS[name], tmp_path, tmp_path / "cache")
    for part in BENCHMARKS[name].parts:
        if not part.optional:
            assert all(place in str(caught.value) for place in part.places)
            assert part.archive in str(caught.value)
            assert part.by_hand in str(caught.value)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(BenchmarkError, match="not a folder:\n  - ICIAR2018"):
        acquire(BENCHMARKS["bach"], tmp_path / "none", tmp_path)
    with pytest.raises(BenchmarkError, match=r"no --manual-dir was given.*lacks"):
        acquire(BENCHMARKS["bracs"], None, tmp_path)


def test_archives_are_checked_and_unpacked_once(packed_crc, tmp_path):
    folder, crc = packed_crc
    study = build_benchmark(crc, tmp_path / "out", manual_dir=folder, cache=tmp_path)
    assert len(study.tiles) == 36
    facts = study.meta["provenance"]["parts"]["train"]
    assert facts["md5"] == facts["published_md5"] == crc.parts[0].md5
    found = acquire(crc, folder, tmp_path)
    mark = found["train"].path / "mark"
    mark.touch()
    assert acquire(crc, folder, tmp_path) == found and mark.exists()


def test_a_wrong_checksum(packed_crc, tmp_path):
    folder, crc = packed_crc
    with open(folder / crc.parts[1].archive, "ab") as file:
        file.write(b"\0")
    with pytest.raises(BenchmarkError) as caught:
        acquire(crc, folder, tmp_path)
    assert f"expected {crc.parts[1].md5}" in str(caught.value)
    assert crc.parts[1].by_hand in str(caught.value)


def test_pcam_checksums_are_of_the_uncompressed_files(trees, small, tmp_path):
    trees["pcam"](tmp_path / "plain", meta=False)
    (tmp_path / "packed").mkdir()
    parts = []
    for part in small("pcam").parts:
        if part.archive:
            data = (tmp_path / "plain" / part.places[0]).read_bytes()
            (tmp_path / "packed" / part.archive).write_bytes(gzip.compress(data))
            part = dataclasses.replace(part, md5=md5(data))
        parts.append(part)
    pcam = small("pcam", parts=tuple(parts))
    plain = acquire(pcam, tmp_path / "plain", tmp_path / "cache")
    packed = acquire(pcam, tmp_path / "packed", tmp_path / "cache")
    assert list(plain) == list(packed) == [p.key for p in parts if p.archive]
    for key, part in packed.items():
        assert part.path.read_bytes() == plain[key].path.read_bytes()
        assert part.info["md5_of_content"] == plain[key].info["md5"]
    with open(tmp_path / "plain" / parts[0].places[0], "ab") as file:
        file.write(b"\0")
    with pytest.raises(BenchmarkError, match="has MD5 .* expected"):
        acquire(pcam, tmp_path / "plain", tmp_path / "cache")
    wrong = dataclasses.replace(parts[0], md5="0" * 32)
    with pytest.raises(BenchmarkError, match="expected 000"):
        acquire(
            dataclasses.replace(pcam, parts=(wrong, *parts[1:])),
            tmp_path / "packed",
            tmp_path / "other",
        )


@pytest.fixture
def served(packed_crc):
    """The archives behind a server of this machine, and the set with its addresses."""
    need("tensorflow_datasets")
    folder, crc = packed_crc

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    at = f"http://127.0.0.1:{server.server_port}"
    parts = [dataclasses.replace(p, url=f"{at}/{p.archive}") for p in crc.parts]
    yield folder, dataclasses.replace(crc, parts=tuple(parts))
    server.shutdown()
    thread.join()
    server.server_close()


def test_downloads_are_checked_kept_and_made_a_study(served, tmp_path):
    folder, crc = served
    study = build_benchmark(crc, tmp_path / "out", cache=tmp_path / "cache")
    assert len(study.tiles) == 36
    assert study.meta["provenance"]["parts"]["val"]["url"] == crc.parts[1].url
    for path in folder.iterdir():
        path.unlink()
    again = build_benchmark(crc, tmp_path / "again", cache=tmp_path / "cache")
    assert again.fingerprint == study.fingerprint


def test_a_download_that_fails_says_what_to_do(served, tmp_path):
    folder, crc = served
    (folder / crc.parts[0].archive).unlink()
    with pytest.raises(BenchmarkError, match=r"cannot be downloaded .*--manual-dir"):
        acquire(crc, None, tmp_path / "cache")


def test_downloading_imports_no_tensorflow():
    need("tensorflow_datasets")
    program = (
        "import sys, tempfile, tensorflow_datasets as tfds;"
        "tfds.download.DownloadManager(download_dir=tempfile.mkdtemp());"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


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
