"""Tables of docs/performance.md: those of the JSON, blocks only, faults named."""

import json
import re
from pathlib import Path

import pytest

from pathjax.bench.document import document, main, table

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_performance_md_has_the_figures_of_the_json():
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert text.count("<!-- bench:") >= 6
    assert document(text, DOCS) == text


def test_figures_come_from_the_file(tmp_path):
    found = json.loads((DOCS / "data" / "bench-step-jax0.12.json").read_text())
    for ratio in found["ratios"]:
        if (ratio["of"], ratio["to"]) == ("pathjax", "torch"):
            ratio["median"] = 1.5
    (tmp_path / "step.json").write_text(json.dumps(found))
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench: step.json -->\nold\n<!-- end -->\nafter\n")
    main([str(page)])
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    row = re.search(r"float32 / PyTorch eager float32 \| (.+) \|", text)[1]
    assert row.startswith("1.50 (") and row.endswith("the bar is 1.4: met")
    main([str(page)])
    assert page.read_text() == text


def test_a_bar_not_reached_is_said():
    text = document("<!-- bench: data/bench-tile.json -->\n<!-- end -->", DOCS)
    found = json.loads((DOCS / "data" / "bench-tile.json").read_text())
    for name, value in found["ratios"].items():
        bar = found["bars"][name.split(",")[0]]
        met = value <= bar if name == "memory" else value >= bar
        verdict = "met" if met else "**not met**"
        assert f"{value:.2f}; the bar is {bar:g}: {verdict} |" in text


def test_faults_are_named(tmp_path):
    with pytest.raises(ValueError, match="has no <!-- end -->"):
        document("<!-- bench: data/bench-tile.json -->\n", DOCS)
    (tmp_path / "x.json").write_text('{"benchmark": "sleep"}')
    with pytest.raises(ValueError, match="bench sleep: there is no table"):
        document("<!-- bench: x.json -->\n<!-- end -->", tmp_path)


def test_a_table_of_scaling_has_a_row_a_size():
    found = {
        "benchmark": "scale",
        "device": "gpu",
        "sizes": [
            {
                "devices": n,
                "mesh": "data",
                "batch": 4 * n,
                "images_per_second": {"median": 9.0 * n, "min": 8.0, "max": 10.0},
                "efficiency": {"median": 0.9, "min": 0.8, "max": 1.0},
                "arguments_bytes": 3 << 20,
                "temporaries_bytes": 5 << 20,
            }
            for n in (1, 2)
        ],
    }
    from pathjax.bench.document import scale

    rows = scale(found).splitlines()
    assert rows[3] == "| 2 data | 8 | 18 (8 to 10) | 0.90 (0.80 to 1.00) | 3 | 5 |"
    assert table(["a"], [["b"]]) == "| a |\n| --- |\n| b |\n"
