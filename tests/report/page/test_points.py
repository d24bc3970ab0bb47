"""Embeddings in the plane as the page takes them."""

import json

import pytest

from pathjax.report.page.points import MOST_CLASSES, NO_LABEL, read_points


def test_classes_are_ordered_by_how_many_there_are(tmp_path):
    path = tmp_path / "tsne.csv"
    path.write_text(
        "# perplexity 30\nx,y,label,id,more\n"
        "0,0,NA,a#1,q\n1,5,lung,b,q\n2,3,lung,c,q\n3,1,,d,q\n,1,lung,e,q\n",
        encoding="utf-8",
    )
    got = read_points(path)
    assert got["classes"][0] == "lung" and set(got["classes"]) == {
        "lung",
        "NA",
        NO_LABEL,
    }
    assert [got["classes"][one] for one in got["label"]] == [
        "NA",
        "lung",
        "lung",
        NO_LABEL,
    ]
    assert got["id"] == ["a#1", "b", "c", "d"]
    assert (got["x"], got["y"]) == ([0, 1, 2, 3], [0, 5, 3, 1])
    assert (got["title"], got["notes"], got["dropped"]) == ("tsne", [], 1)


def test_labels_and_ids_may_be_missing(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("x,y\n0,0\n1,1\n", encoding="utf-8")
    got = read_points(path)
    assert (got["id"], got["classes"], got["label"]) == ([], [NO_LABEL], [0, 0])


@pytest.mark.parametrize(
    ("text", "said"), [("x,z\n1,1\n", "lacks the columns y"), ("x,y\na,b\n", "no row")]
)
def test_what_cannot_be_drawn(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_points(path)


def test_numbers_are_a_scale_unless_they_are_few(tmp_path):
    path = tmp_path / "age.csv"
    labels = [*map(str, range(20)), "", NO_LABEL]
    lines = "".join(f"{n},{n},{label}\n" for n, label in enumerate(labels))
    path.write_text("x,y,label\n" + lines, encoding="utf-8")
    got = read_points(path)
    assert got["values"] == [*range(20), None, None] and "classes" not in got
    path.write_text("x,y,label\n0,0,1\n1,1,0\n2,2,1\n", encoding="utf-8")
    assert read_points(path)["classes"] == ["1", "0"]


def test_classes_too_many_to_tell_apart_are_one(tmp_path):
    path = tmp_path / "a.csv"
    names = [f"class {n}" for n in range(60)]
    lines = "".join(f"{n},0,{name}\n" * (60 - n) for n, name in enumerate(names))
    path.write_text("x,y,label\n" + lines, encoding="utf-8")
    got = read_points(path)
    assert got["classes"] == [*names[:39], "(21 other classes)"]
    assert len(got["classes"]) == MOST_CLASSES
    assert got["label"].count(39) == sum(range(1, 22))


def test_the_record_beside_it_gives_title_and_purity(tmp_path):
    path = tmp_path / "tsne.csv"
    path.write_text("x,y,label\n0,0,a\n1,1,b\n", encoding="utf-8")
    purity = {"value": 0.914, "k": 10, "chance": 0.25, "other_patients": True}
    record = {"title": "reports of PRAD", "method": "tsne", "embedding": purity}
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    got = read_points(path)
    assert got["title"] == "reports of PRAD"
    assert got["notes"] == [
        "Agreement with the 10 nearest neighbours in the embedding: 0.91; chance 0.25."
    ]
    path.with_suffix(".json").write_text("[]", encoding="utf-8")
    assert read_points(path)["title"] == "tsne"
