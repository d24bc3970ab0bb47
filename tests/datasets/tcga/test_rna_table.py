"""Packed files are opened by content; samples are named without repeats."""

import gzip
import zipfile

import pytest

from pathjax.data.tcga_barcodes import parse
from pathjax.datasets.tcga.rna_table import named, observations
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


def test_rows_are_named_by_sample_then_aliquot_then_number():
    samples = [
        ("TCGA-05-4244-01", ""),
        ("TCGA-05-4249-01A", "TCGA-05-4249-01A-01R-1107-07"),
        ("TCGA-05-4249-01A", "TCGA-05-4249-01A-02R-1107-07"),
        ("TCGA-05-4250-11A", ""),
        ("TCGA-05-4250-11A", ""),
        ("TCGA-05-4251-01A", "TCGA-05-4251-01A-01R-1107-07"),
    ]
    obs = named(
        observations(
            [parse(aliquot or sample) for sample, aliquot in samples],
            [aliquot for _, aliquot in samples],
            ["TCGA-LUAD"] * 6,
            ["f"] * 6,
        )
    )
    assert list(obs.index) == [
        "TCGA-05-4244-01",
        "TCGA-05-4249-01A-01R-1107-07",
        "TCGA-05-4249-01A-02R-1107-07",
        "TCGA-05-4250-11A#1",
        "TCGA-05-4250-11A#2",
        "TCGA-05-4251-01A",
    ]
    assert list(obs["sample"]) == [sample for sample, _ in samples]
    assert list(obs["case_id"][:2]) == ["TCGA-05-4244", "TCGA-05-4249"]
    assert list(obs["sample_type"]) == ["01", "01", "01", "11", "11", "01"]
    assert set(obs["site"]) == {"05"}
