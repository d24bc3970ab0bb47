"""Files of the user are found, plain or packed; downloads need no TensorFlow."""

import dataclasses
import gzip
import hashlib
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from extras import need

from pathjax.datasets.benchmarks import BENCHMARKS, BenchmarkError
from pathjax.datasets.benchmarks.acquire import acquire
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
