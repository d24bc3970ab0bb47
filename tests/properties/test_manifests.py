"""Manifests of slides and tables of mpp: every row is used, or named."""

import pytest
from damage import examples, refused, table_bytes
from hypothesis import given

from pathjax.data.tables import read_table
from pathjax.wsi.manifest import read_manifest

MANIFEST = (
    ["path", "slide_id", "patient_id", "sample_id", "site", "mpp"],
    [
        ["a.svs", "A", "P1", "S1", "x", "0.25"],
        ["b.svs", "B", "P1", "S1", "x", ""],
        ["c.svs", "C", "P2", "S2", "y", "0.5"],
    ],
)
MPP = ["wsi", "mpp"], [["a.svs", "0.25"], ["b.svs", "0.5"]]


@examples(80)
@given(content=table_bytes(*MANIFEST))
def test_manifests(tmp_path, content):
    path = tmp_path / "m.csv"
    path.write_bytes(content)

    def use():
        manifest = read_manifest(path)
        rows = manifest.rows
        lines = [what for what, _ in manifest.unused if what.startswith("line ")]
        bad: list = []
        given = len(read_table(path, bad_rows=bad)) + len(bad)
        assert len(rows) + len(set(lines)) == given
        assert len({row.slide_id for row in rows}) == len(rows)
        for row in rows:
            assert row.mpp is None or 0.01 <= row.mpp <= 100
            assert row.patient_id and row.sample_id

    refused(use, ValueError)


@pytest.mark.slow
@examples(50)
@given(content=table_bytes(*MPP))
def test_mpp_tables(tmp_path, content):
    (tmp_path / "m.csv").write_text("path\na.svs\nb.svs\n")
    path = tmp_path / "mpp.csv"
    path.write_bytes(content)

    def use():
        manifest = read_manifest(tmp_path / "m.csv", path)
        used = sum(row.mpp_source == "mpp-csv" for row in manifest.rows)
        bad: list = []
        table = read_table(path, ("wsi", "mpp"), bad_rows=bad)
        given = table["wsi"].nunique() + len(bad)  # a row may be there twice
        assert used + len(manifest.unused) >= given

    refused(use, ValueError)
