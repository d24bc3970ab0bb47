"""TP53 from a MAF: rules, sequenced samples, errors."""

import contextlib
import gzip

import pytest
from damage import cut, examples, table_bytes
from hypothesis import given

from pathjax.datasets.tcga.labels import read_labels
from pathjax.datasets.tcga.maf import count_mutated, read_maf, read_sequenced
from pathjax.datasets.tcga.tables import TcgaError

COLUMNS = "Hugo_Symbol\tChromosome\tVariant_Classification\tTumor_Sample_Barcode\tNote"
ROWS = [
    # gene, class, sample, FILTER
    ("TP53", "Missense_Mutation", "TCGA-AA-0001-01A-11D-A41B-09", "PASS"),
    ("TP53", "Silent", "TCGA-AA-0002-01A-11D-A41B-09", "PASS"),
    ("TP53", "Nonsense_Mutation", "TCGA-AA-0003-01A-11D-A41B-09", "oxog"),
    ("TP53", "Splice_Site", "TCGA-AA-0004-01A-11D-A41B-09", "wga,native_wga_mix"),
    ("TP53", "3'UTR", "TCGA-AA-0005-06A-11D-A41B-09", "PASS"),
    ("KRAS", "Missense_Mutation", "TCGA-AA-0006-01A-11D-A41B-09", "PASS"),
    ("TP53", "Frame_Shift_Del", "TCGA-AA-0007-01A-11D-A41B-09", "PASS"),
    ("TTN", "Silent", "TCGA-AA-0007-06A-11D-A41B-09", "PASS"),
    ("TP53BP1", "Missense_Mutation", "TCGA-AA-0008-01A-11D-A41B-09", "PASS"),
    ("TP53", "Missense_Mutation", "TCGA-AA-0009-11A-11D-A41B-09", "PASS"),
    ("TP53", "In_Frame_Del", "TCGA-AA-0010-01A-11D-A41B-09", "PASS;nonpreferredpair"),
]
STATUS = {
    "TCGA-AA-0001-01": "mutated",
    "TCGA-AA-0002-01": "wild type",
    "TCGA-AA-0003-01": "wild type",
    "TCGA-AA-0004-01": "mutated",
    "TCGA-AA-0005-06": "wild type",
    "TCGA-AA-0006-01": "wild type",
    "TCGA-AA-0007-01": "mutated",
    "TCGA-AA-0007-06": "wild type",
    "TCGA-AA-0008-01": "wild type",
    "TCGA-AA-0010-01": "wild type",
}


def maf(folder, rows=ROWS, head="#version gdc-1.0.0\n", name="x.maf", flag=True):
    lines = [f"{COLUMNS}\tFILTER" if flag else COLUMNS]
    for gene, kind, sample, passed in rows:
        cells = [gene, "chr17", kind, sample, "it's # odd"]
        lines.append("\t".join([*cells, passed] if flag else cells))
    data = (head + "\n".join(lines) + "\n").encode()
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def status(path, sequenced=()):
    claims = read_maf(path, sequenced)
    samples = claims["source"].str.extract(r"\((.*)\)", expand=False)
    return dict(zip(samples, claims["value"], strict=True))


@pytest.mark.parametrize("name", ["x.maf", "x.maf.gz"])
def test_status_of_samples(tmp_path, name):
    assert status(maf(tmp_path, name=name)) == STATUS
    assert status(maf(tmp_path, head="", name=name)) == STATUS


def test_sequenced_samples_without_rows_are_wild_type(tmp_path):
    listed = tmp_path / "sequenced.txt"
    listed.write_text("TCGA-AA-0001-01A\nTCGA-AA-0099-01A-11D-A41B-09\n\n")
    found = status(maf(tmp_path), read_sequenced(listed))
    assert found == STATUS | {"TCGA-AA-0099-01": "wild type"}


def test_maf_without_filter_column(tmp_path):
    found = status(maf(tmp_path, flag=False))
    assert found["TCGA-AA-0003-01"] == "mutated"


@pytest.mark.parametrize("rows", [1, 2])
def test_reading_in_chunks(tmp_path, monkeypatch, rows):
    monkeypatch.setattr("pathjax.datasets.tcga.maf.MAF_ROWS", rows)
    assert status(maf(tmp_path)) == STATUS


def test_all_unknown_values_are_listed(tmp_path):
    rows = [
        *ROWS,
        ("TP53", "Something", "TCGA-AA-0011-01A-11D-A41B-09", "PASS"),
        ("KRAS", "Silent", "sample 7", "PASS"),
        ("KRAS", "Silent", "TCGA-AA-0012", "PASS"),
    ]
    with pytest.raises(TcgaError, match="3 unknown values") as caught:
        status(maf(tmp_path, rows))
    for part in ("'Something'", "'sample 7'", "'TCGA-AA-0012'"):
        assert part in str(caught.value)


def test_maf_without_classes(tmp_path):
    path = tmp_path / "x.maf"
    path.write_text("Hugo_Symbol\tTumor_Sample_Barcode\nTP53\tTCGA-AA-0001-01\n")
    with pytest.raises(TcgaError, match="lacks the columns Variant_Classification"):
        status(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_of_sequenced_samples_is_read_as_tables_are(tmp_path, encoding):
    path = tmp_path / "sequenced.txt"
    path.write_bytes("TCGA-AA-0001-01A\r\n".encode(encoding))
    assert read_sequenced(path) == {"TCGA-AA-0001-01"}


@pytest.mark.parametrize("text", ["", "TCGA-AA-0001\n", "TCGA-AA-0001-01\nx\n"])
def test_invalid_list_of_sequenced_samples(tmp_path, text):
    path = tmp_path / "sequenced.txt"
    path.write_text(text)
    with pytest.raises(TcgaError, match="one barcode per line"):
        read_sequenced(path)


TABLE = table_bytes(
    [*COLUMNS.split("\t"), "FILTER"],
    [[gene, "chr17", kind, sample, "odd", flag] for gene, kind, sample, flag in ROWS],
    separators="\t",
)


@examples(100)
@given(TABLE | TABLE.map(gzip.compress).flatmap(cut))
def test_damaged_mafs_raise_only_tcga_errors(tmp_path, content):
    path = tmp_path / "y.maf"
    path.write_bytes(content)
    with contextlib.suppress(TcgaError):
        status(path)


def test_other_genes_by_name_and_how_many_patients_have_each(tmp_path):
    path = maf(tmp_path)
    claims = read_maf(path, (), ("KRAS", "TP53"))
    of = {name: own for name, own in claims.groupby("label")}
    kras = of["mutation:KRAS"]
    assert set(kras["patient"][kras["value"] == "mutated"]) == {"TCGA-AA-0006"}
    both = [list(of[name]["value"]) for name in ("tp53", "mutation:TP53")]
    assert both[0] == both[1] and len(both[0]) == len(STATUS)
    counted = count_mutated(path)["gene"].value_counts().to_dict()
    assert counted == {"TP53": 3, "KRAS": 1, "TP53BP1": 1}
    labels = read_labels([path], mutations=("3",)).table
    assert {name for name in labels if name.startswith("mutation")} == {
        *("mutation:TP53", "mutation:TP53_source")
    }
