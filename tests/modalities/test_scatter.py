"""What a picture is of, from a study or from tables, and its files."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from matplotlib.image import imread

from pathjax.embeddings.embedding_file import write_embeddings
from pathjax.modalities import scatter
from pathjax.modalities.cohort import ModalityError
from pathjax.modalities.projection import Purity, purity
from pathjax.modalities.scatter import (
    Picture,
    Subject,
    describe,
    make_picture,
    read_subject,
    write,
)


def picture(labels):
    n = len(labels)
    ids = np.array([f"S{i}" for i in range(n)])
    return Picture(
        subject=Subject("text", np.zeros((n, 1)), labels, ids, np.arange(n), "d", True),
        title="text of demo, by type ($x$)",
        method="tsne",
        places=np.random.default_rng(0).normal(size=(n, 2)),
        embedding=Purity(0.9, 0.5, 10, True),
        plane=Purity(0.8, 0.5, 10, True),
        about={"seed": 0},
    )


def test_classes(tmp_path):
    labels = np.array(["a", "b", None, "a"] * 5, object)
    png, table, record = write(picture(labels), tmp_path / "p.png")
    assert imread(png).std() > 0.02
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["x", "y", "label", "id"]
    assert [row["label"] for row in rows[:3]] == ["a", "b", "(none)"]
    got = json.loads(record.read_text())
    assert got["embedding"]["value"] == 0.9 and got["labelled"] == 15
    assert got["seed"] == 0


def test_numbers(tmp_path):
    labels = np.array([0.5, np.nan, 2.0])
    _, table, _ = write(picture(labels), tmp_path / "p.png")
    rows = table.read_text().splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == ["0.5", "", "2.0"]


def test_the_figure_says_chance():
    text = describe(picture(np.array(["a", "b"], object)))
    assert "0.90" in text and "chance 0.50" in text and "of other patients" in text
    assert "r with" in describe(picture(np.array([1.0, 2.0])))


@pytest.fixture(scope="module")
def tiles(tiny_study, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiles") / "tiles.h5"
    features = np.random.default_rng(0).normal(size=(len(tiny_study), 4))
    write_embeddings(path, tiny_study, features.astype(np.float32), {"model": "m"})
    return path


def test_rna_of_samples(tiny_study):
    got = read_subject(tiny_study.root, "rna", "group")
    assert got.features.shape == (12, 20) and got.what == "rna"
    assert set(got.labels) == {"low", "high"} and got.synthetic
    assert len(np.unique(got.patient)) == 12
    numbers = read_subject(tiny_study.root, "rna", "latent")
    assert numbers.labels.dtype == np.float64
    some = read_subject(tiny_study.root, "rna", "latent@group=low")
    assert 0 < len(some.ids) < 12


def test_tiles_by_their_own_target_and_samples_by_theirs(tiny_study, tiles):
    own = read_subject(tiny_study.root, str(tiles), "tile_class")
    assert own.what == "tiles" and len(own.ids) == len(tiny_study)
    assert len(np.unique(own.patient)) == 12
    few = read_subject(tiny_study.root, str(tiles), "tile_class", most=20)
    assert len(few.ids) == 20 and set(few.ids) < set(own.ids)
    assert len(read_subject(tiny_study.root, str(tiles), "group").ids) == 12


@pytest.mark.parametrize(
    ("of", "by", "message"),
    [
        ("none.h5", "group", "expected rna, or a file"),
        ("rna", "tile_class", "embedding file of tiles"),
        ("rna", "groups", "did you mean 'group'"),
        ("rna", "expression", "classes or numbers"),
    ],
)
def test_what_cannot_be_shown_is_told(tiny_study, of, by, message):
    with pytest.raises(ModalityError, match=message):
        read_subject(tiny_study.root, of, by)


def test_labels_beside_a_study_are_refused(tiny_study, tmp_path):
    with pytest.raises(ModalityError, match="--labels would not be used"):
        read_subject(tiny_study.root, "rna", "group", labels=[tmp_path / "l.csv"])


def test_tables_need_labels():
    with pytest.raises(ModalityError, match="--labels"):
        read_subject(None, "rna", "group")


def test_the_picture_measures_the_labelled_rows(tiny_study, monkeypatch):
    got = read_subject(tiny_study.root, "rna", "group")
    labels = got.labels.copy()
    labels[0] = None
    got = dataclasses.replace(got, labels=labels)
    places = np.random.default_rng(0).normal(size=(12, 2))
    monkeypatch.setattr(
        "pathjax.modalities.scatter.project", lambda x, method, seed: places
    )
    # Its version is recorded; the library itself comes with pathjax[figures].
    monkeypatch.setitem(scatter.LIBRARY, "tsne", "numpy")
    picture = make_picture(got, "group")
    number = (got.labels[1:] == "low").astype(int)
    expected = purity(places[1:], number, got.patient[1:])
    assert picture.plane == expected and picture.embedding.k == 10
    assert "12 rows; synthetic" in picture.title
