"""Damaged files are named; how they may be packed is tested in data/test_tables.py."""

import gzip
import zipfile

import pytest

from pathjax.datasets.tcga.tables import TcgaError, opened


def read(path):
    with opened(path) as file:
        return file.read()


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "a.gz"
    for data in (gzip.compress(b"text" * 99)[:-9], b"\x1f\x8bjunk", b"PK\x03\x04junk"):
        path.write_bytes(data)
        with pytest.raises(TcgaError, match=r"a\.gz cannot be read.*download it again"):
            read(path)
    with pytest.raises(TcgaError, match="cannot be read"):
        read(tmp_path / "absent")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(TcgaError, match="archive has 2 files, expected one"):
        read(path)
