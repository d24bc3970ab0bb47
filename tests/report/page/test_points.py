"""Embeddings in the plane as the page takes them."""

import pytest

from pathjax.report.page.points import LEFT_OUT, read_points


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
        LEFT_OUT,
    }
    assert [got["classes"][one] for one in got["label"]] == [
        "NA",
        "lung",
        "lung",
        LEFT_OUT,
    ]
    assert got["id"] == ["a#1", "b", "c", "d"]
    assert (got["x"], got["y"]) == ([0, 1, 2, 3], [0, 5, 3, 1])
    assert (got["title"], got["dropped"]) == ("tsne", 1)


def test_labels_and_ids_may_be_missing(tmp_path):
    path = tmp_path / "plain.csv"
    path.write_text("x,y\n0,0\n1,1\n", encoding="utf-8")
    got = read_points(path)
    assert (got["id"], got["classes"], got["label"]) == ([], [LEFT_OUT], [0, 0])


@pytest.mark.parametrize(
    ("text", "said"), [("x,z\n1,1\n", "lacks the columns y"), ("x,y\na,b\n", "no row")]
)
def test_what_cannot_be_drawn(tmp_path, text, said):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_points(path)
