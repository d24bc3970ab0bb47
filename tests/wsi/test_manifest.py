"""Folders and manifests: ids, owners, mpp; what is not used is named."""

import numpy as np
import pytest

from pathjax.wsi.manifest import SlideRow, read_manifest

TCGA = "TCGA-CR-7395-01A-01-TS1.0B2F-11"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def folder(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def test_a_folder_is_searched_to_its_bottom_and_sorted(tmp_path):
    names = ["b.ndpi", f"z/y/{TCGA}.svs", "a.ome.tif", "x c.PNG"]
    manifest = read_manifest(folder(tmp_path, *names, "notes.txt", ".hidden.svs"))
    rows = manifest.rows
    assert [row.slide_id for row in rows] == ["a", "b", "x_c", TCGA]
    assert [row.patient_id for row in rows] == ["a", "b", "x_c", "TCGA-CR-7395"]
    assert [row.site for row in rows] == ["unknown"] * 3 + ["CR"]
    assert rows[-1].sample_id == TCGA and rows[-1].mpp is None
    assert rows[-1].path == str(tmp_path / f"z/y/{TCGA}.svs")
    assert manifest.unused == []


def test_what_is_passed_over_in_a_folder_is_named(tmp_path):
    slides = folder(tmp_path / "slides", "a.svs", "x/b.czi", "c.DCM")
    folder(tmp_path / "elsewhere", "d.svs")
    (slides / "linked").symlink_to(tmp_path / "elsewhere")
    (slides / "e.svs").symlink_to(tmp_path / "elsewhere" / "d.svs")
    manifest = read_manifest(slides)
    assert [row.slide_id for row in manifest.rows] == ["a", "e"]
    said = dict(manifest.unused)
    assert sorted(said) == ["c.DCM", "linked", "x/b.czi"]
    assert said["x/b.czi"] == ".czi is not read: convert it to TIFF"
    assert said["linked"] == "a link to a folder is not searched"
    (slides / "a.svs").unlink()
    (slides / "e.svs").unlink()
    with pytest.raises(ValueError, match=r"has no slide.*b\.czi: \.czi is not read"):
        read_manifest(slides)


def test_a_name_that_is_too_long_ends_no_run(tmp_path):
    manifest = read_manifest(folder(tmp_path, "S" * 246 + ".tif", "ö.tif", "z.tif"))
    assert [row.slide_id for row in manifest.rows] == ["z"]
    assert len(manifest.unused) == 2
    assert all(
        "cannot name a slide: give a slide_id" in why for _, why in manifest.unused
    )


def test_a_manifest_says_what_it_knows_and_the_name_the_rest(tmp_path):
    text = (
        "wsi,patient_id,sample_id,site,mpp,stage\n"
        f"slides/{TCGA}.svs,,,,,II\n"
        " slides/q.tif ,P1,S1,Oslo,0.25,\n"
        "/elsewhere/r.tif,P1,S1,Oslo,,III\n"
    )
    manifest = read_manifest(write(tmp_path / "m.csv", text))
    assert manifest.rows == [
        SlideRow(TCGA, "TCGA-CR-7395", TCGA, "CR", f"{tmp_path}/slides/{TCGA}.svs"),
        SlideRow("q", "P1", "S1", "Oslo", f"{tmp_path}/slides/q.tif", 0.25, "manifest"),
        SlideRow("r", "P1", "S1", "Oslo", "/elsewhere/r.tif"),
    ]
    assert manifest.unused == []


@pytest.mark.parametrize(
    "text",
    [
        "path;patient_id;mpp\ns/a.tif;001;0,3\n",
        "\ufeffpath,patient_id,mpp\r\ns/a.tif,001,0.3\r\n",
        "path\tpatient_id\tmpp\ns/a.tif\t001\t0.3\n",
        "Path,Patient_ID,MPP\ns/a.tif,001,0.3\n",
        "File Name,Case ID,Microns per pixel\ns/a.tif,001,0.3\n",
        "path,patient_id,mpp\ns\\a.tif,001,0.3\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_flavours_of_a_manifest(tmp_path, text, encoding):
    folder(tmp_path, "s/a.tif")
    path = tmp_path / "m.csv"
    path.write_bytes(text.encode(encoding))
    (row,) = read_manifest(path).rows
    assert row == SlideRow(
        "a", "001", "a", "unknown", f"{tmp_path}/s/a.tif", 0.3, "manifest"
    )


def test_the_mpp_table_goes_first(tmp_path):
    text = "path,slide_id,mpp\na.svs,A,0.25\nb.svs,B,0.25\nc.svs,C,\n"
    slides = write(tmp_path / "m.csv", text)
    mpp = write(tmp_path / "mpp.csv", "wsi,mpp\nx/a.svs,0.3\nC,0.4\nnever.svs,1\n")
    manifest = read_manifest(slides, mpp)
    found = [(row.mpp, row.mpp_source) for row in manifest.rows]
    assert found == [(0.3, "mpp-csv"), (0.25, "manifest"), (0.4, "mpp-csv")]
    assert manifest.unused == [("line 4 of mpp.csv", "'never.svs' matches no slide")]


def test_the_mpp_table_tells_files_of_one_name_apart(tmp_path):
    text = "path,slide_id\na/slide.svs,A\nb/slide.svs,B\nc/slide.svs,C\n"
    manifest = write(tmp_path / "m.csv", text)
    table = write(tmp_path / "mpp.csv", "wsi,mpp\na/slide.svs,0.25\nb\\slide.svs,0.5\n")
    rows = read_manifest(manifest, table).rows
    assert {row.slide_id: row.mpp for row in rows} == {"A": 0.25, "B": 0.5, "C": None}


def test_the_mpp_table_names_slides_as_people_write_them(tmp_path):
    """As by CLAM and TRIDENT without the ending, on Windows, in another case."""
    names = ["Case 12 HE.tif", "B.tif", "Case13.tif", "d.tif", "d.svs", "D.tif"]
    slides = folder(tmp_path / "slides", *names)
    given = "Case 12 HE,0.2,\nC:\\slides\\B.tif,0.3,\ncase13.tif,0.4,\nd,0.5,\n"
    mpp = write(tmp_path / "mpp.csv", "Slide,MPP,mpp_x\n" + given)
    (slides / "d.svs").rename(slides / "e.d.svs")
    manifest = read_manifest(slides, mpp)
    found = {row.slide_id: row.mpp for row in manifest.rows}
    assert found == {
        "Case_12_HE": 0.2, "B": 0.3, "Case13": 0.4, "d": 0.5, "D": None, "e.d": None
    }  # fmt: skip
    assert [what for what, _ in manifest.unused] == ["column mpp_x of mpp.csv"]


def test_the_barcode_of_a_file_with_an_id_of_its_own_names_the_patient(tmp_path):
    """Else a patient's slides would be those of several, and be divided by a split."""
    lines = "path,slide_id,patient_id\nTCGA-CR-7395-01Z-00-DX1.svs,one,\n"
    lines += "TCGA-CR-7395-01Z-00-DX2.svs,two,\nx.svs,three,P3\n"
    rows = read_manifest(write(tmp_path / "m.csv", lines)).rows
    owners = [(row.patient_id, row.site) for row in rows]
    assert owners == [("TCGA-CR-7395", "CR")] * 2 + [("P3", "unknown")]


def test_a_patient_column_filled_in_part_is_refused(tmp_path):
    """Merged cells of a spreadsheet: the id is in the first row of each patient."""
    rows = "".join(f"s{i}.tif,{p}\n" for i, p in enumerate(["P1", "", "", "P2"]))
    with pytest.raises(ValueError, match=r"patient_id is empty in 2 of 4 rows.*line 3"):
        read_manifest(write(tmp_path / "m.csv", "path,patient_id\n" + rows))


def test_a_sample_column_filled_in_part_is_refused(tmp_path):
    rows = "".join(f"s{i}.tif,{p}\n" for i, p in enumerate(["S1", "", "S2"]))
    with pytest.raises(ValueError, match=r"sample_id is empty in 1 of 3 rows.*line 3"):
        read_manifest(write(tmp_path / "m.csv", "path,sample_id\n" + rows))


def test_words_for_missing_are_no_patients_and_ids_alike_are_named(tmp_path):
    ids = ["7", "7.0", "07", "p8", "P8", "NA", "nan", "#N/A"]
    rows = "".join(f"s{i}.tif,{p}\n" for i, p in enumerate(ids))
    with pytest.raises(ValueError, match="empty in 3 of 8 rows") as error:
        read_manifest(write(tmp_path / "m.csv", "path,patient_id\n" + rows))
    assert "patient_ids 07, 7, 7.0 differ only by" in str(error.value)
    assert "patient_ids P8, p8 differ only by" in str(error.value)


def test_a_row_with_too_many_cells_is_named(tmp_path):
    """By comma in a path without quotes, or the last cells would be lost."""
    text = "path,mpp\na,b.svs,0.5\nc.svs,0.5\n"
    manifest = read_manifest(write(tmp_path / "m.csv", text))
    assert [row.slide_id for row in manifest.rows] == ["c"]
    assert manifest.unused == [("line 2 of m.csv", "3 cells for 2 columns")]


def test_bad_rows_are_named_and_the_others_used(tmp_path):
    text = (
        "path,slide_id,patient_id,sample_id,site,mpp\n"
        "a.svs,A,P1,S,x,0\n"
        ",B,P1,S,x,\n"
        "c.svs,../c,P1,S,x,\n"
        "d.svs,D,P1,S,x,250 nm\n"
        "e.svs,E,P1,T,x,\n"
        "f.svs,E,P1,T,x,\n"
        "g.svs,G,P1,U,x,\n"
        "h.svs,H,P2,U,x,\n"
        "i.svs,I,P2,V,x,\n"
        "i.svs,I,P2,V,x,\n"
    )
    manifest = read_manifest(write(tmp_path / "m.csv", text))
    assert [row.slide_id for row in manifest.rows] == ["I"]
    said = {what.removesuffix(" of m.csv"): why for what, why in manifest.unused}
    assert sorted(said, key=lambda line: int(line[5:])) == [
        f"line {i}" for i in (2, 3, 4, 5, 6, 7, 8, 9, 11)
    ]
    for line, part in (
        (2, "mpp is '0'"),
        (3, "no path"),
        (4, "'../c' cannot name a slide"),
        (5, "mpp is '250 nm'"),
        (6, "2 slides are called E"),
        (8, "sample U belongs to patient P1, site x (by G) and to patient P2"),
        (11, "repeats line 10 of m.csv"),
    ):
        assert part in said[f"line {line}"]


def test_tables_and_folders_without_slides_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has no slide"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        read_manifest(tmp_path / "gone.csv")
    with pytest.raises(ValueError, match="several columns for path"):
        read_manifest(write(tmp_path / "m.csv", "path, path\na,b\n"))
    slides = write(tmp_path / "m.csv", "path\na.svs\n")
    for text, said in (
        ("name,mpp\na,1\n", "lacks the columns wsi; it has name, mpp"),
        ("wsi,mpp\na.svs,\n", "mpp is ''"),
        ("wsi,mpp\na.svs,0.2\na.svs,0.3\n", "has mpp 0.2 and 0.3"),
        ("wsi,mpp\na.svs,1e9\n", "mpp is '1e9'"),
    ):
        with pytest.raises(ValueError, match=said):
            read_manifest(slides, write(tmp_path / "mpp.csv", text))


def test_a_manifest_without_rows_or_path_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no slide"):
        read_manifest(write(tmp_path / "m.csv", "path,mpp\n"))
    with pytest.raises(ValueError, match="lacks the columns path; it has where, mpp"):
        read_manifest(write(tmp_path / "m.csv", "where,mpp\na.svs,0.5\n"))


def test_200_damaged_manifests_give_rows_or_a_named_error(tmp_path):
    """Random bytes of a valid one changed, dropped, doubled or put in."""
    whole = (
        b"path,slide_id,patient_id,sample_id,site,mpp\n"
        b'a.svs,A,P1,S1,x,0.25\n"b,2.svs",B,P1,S1,x,\nc.svs,C,P2,,y,0.5\n'
    )
    rng, refused = np.random.default_rng(0), 0
    path = tmp_path / "m.csv"
    special = np.frombuffer(b",\"\n\r\0\xff ./-\t'e", np.uint8)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.integers(1, 10)):
            at = int(rng.integers(len(data)))
            byte = int(rng.choice(special) if rng.random() < 0.5 else rng.integers(256))
            kept = data[at : at + 1]
            choices = (b"", bytes([byte]), bytes([byte]) + kept, data[at : at + 12] * 2)
            data[at : at + 1] = choices[rng.integers(4)]
        path.write_bytes(bytes(data))
        try:
            manifest = read_manifest(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            rows = manifest.rows
            assert rows and len({row.slide_id for row in rows}) == len(rows)
    assert 20 < refused < 190
