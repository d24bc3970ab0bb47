"""Packed files are opened by content; damaged ones are named."""

import gzip
import zipfile

import pytest

from pathjax.datasets.tcga.tables import TcgaError, opened


def read(path):
    with opened(path) as file:
        return file.read()


def test_opens_plain_gzip_and_zip_whatever_the_name(tmp_path):
    path = tmp_path / "HiSeqV2"
    path.write_bytes(b"text")
    assert read(path) == b"text"
    path.write_bytes(gzip.compress(b"text"))
    assert read(path) == b"text"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._a.csv", "x")
        archive.writestr("a.csv", "text")
    assert read(path) == b"text"


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "a.gz"
    for data in (gzip.compress(b"text" * 99)[:-9], b"\x1f\x8bjunk", b"PK\x03\x04junk"):
        path.write_bytes(data)
        with pytest.raises(TcgaError, match=r"a\.gz cannot be read.*download it again"):
            read(path)
    with pytest.raises(TcgaError, match="cannot be read"):
        read(tmp_path / "absent")


def test_an_archive_of_several_files_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(TcgaError, match="expected one file in the archive, got 2"):
        read(path)
