"""The picture's files: coordinates, record, and a style for every class."""

import csv
import json

import numpy as np
import pytest
from matplotlib.image import imread

from pathjax.modalities.projection import Purity
from pathjax.modalities.scatter import Picture, style, told, write


def picture(labels):
    n = len(labels)
    return Picture(
        title="text of demo, by type ($x$)",
        method="tsne",
        places=np.random.default_rng(0).normal(size=(n, 2)),
        labels=labels,
        ids=np.array([f"S{i}" for i in range(n)]),
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
    found = json.loads(record.read_text())
    assert found["embedding"]["value"] == 0.9 and found["labelled"] == 15
    assert found["seed"] == 0


def test_numbers(tmp_path):
    labels = np.array([0.5, np.nan, 2.0])
    _, table, _ = write(picture(labels), tmp_path / "p.png")
    rows = table.read_text().splitlines()[1:]
    assert [row.split(",")[2] for row in rows] == ["0.5", "", "2.0"]


def test_no_two_classes_look_alike():
    assert len({style(number) for number in range(77)}) == 77
    # Neighbours in the legend differ in colour and in shape.
    for one in range(76):
        colour, marker = style(one)
        assert colour != style(one + 1)[0] and marker != style(one + 1)[1]


def test_the_figure_says_chance():
    text = told(picture(np.array(["a", "b"], object)))
    assert "0.90" in text and "chance 0.50" in text and "of other patients" in text
    assert "r with" in told(picture(np.array([1.0, 2.0])))


@pytest.mark.parametrize("number", [0, 6, 7, 30])
def test_styles_are_of_the_palette(number):
    colour, marker = style(number)
    assert colour.startswith("#") and len(marker) == 1
