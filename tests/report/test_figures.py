import numpy as np
import pytest
from PIL import Image

from pathjax.report.figures import (
    draw_genes,
    find_metrics,
    read_metrics,
)
from pathjax.report.style import plain, slug, style


def test_metrics_of_a_resumed_and_a_killed_run(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"step": 1, "train/loss": 3.0, "name": "x"}\n'
        '{"step": 2, "train/loss": 9.0}\n\n'
        '{"step": 2, "train/loss": 2.0, "val/loss": NaN}\n'
        '{"step": 3, "val/loss": 1.0}\n'
        '{"step": 4, "tra'
    )
    series = read_metrics(path)
    steps, loss = series["train/loss"]
    assert list(steps) == [1, 2] and list(loss) == [3.0, 2.0]
    assert list(series["val/loss"][0]) == [3]
    assert "name" not in series


def test_a_broken_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"loss": 2}\n{"step": 3}\n')
    with pytest.raises(ValueError, match="line 2 cannot be read"):
        read_metrics(path)


def test_metrics_are_found_below_the_run(tmp_path):
    for inside in (".", "contrastive", "tuned/seed0"):
        (tmp_path / inside).mkdir(parents=True, exist_ok=True)
        (tmp_path / inside / "metrics.jsonl").write_text("")
    found = find_metrics([tmp_path, tmp_path / "table.csv"])
    assert set(found) == {tmp_path.name, "contrastive", "tuned/seed0"}


def test_genes_with_constant_ones_and_formula_signs(tmp_path):
    names = np.array([f"G$_{i}" for i in range(6)])
    before = np.array([0.1, 0.2, np.nan, 0.4, 0.5, 0.6])
    models = {"base $": (names, before), "tuned": (names, before + 0.1)}
    draw_genes("task $", models, {"tuned": "base $"}, tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as image:
        assert min(image.size) > 300


def test_names_become_plain_text_and_file_names():
    assert plain("a $b$") == r"a \$b\$"
    assert slug("../TCGA expression") == "TCGA-expression"
    assert slug("///") == "task"


def test_no_two_series_look_alike():
    assert len({style(number) for number in range(77)}) == 77
    # Neighbours in a legend differ in colour and in shape.
    for number in range(76):
        (colour, marker), (next_colour, next_marker) = style(number), style(number + 1)
        assert colour != next_colour and marker != next_marker
