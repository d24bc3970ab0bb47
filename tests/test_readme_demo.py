"""The README's first command at its default size."""

import pytest
from readme_blocks import bash


@pytest.mark.slow
def test_the_demo_shows_an_effect_and_writes_a_page(tmp_path):
    out = bash("pathjax demo", tmp_path, 1800)
    assert "mean delta" in out
    demo = tmp_path / "runs" / "demo"
    assert out.splitlines()[-1] == "runs/demo/index.html"
    assert (demo / "index.html").exists()
    assert {"table.md", "table.csv", "table.png", "deltas.png"} <= {
        path.name for path in (demo / "report").iterdir()
    }
    # Bold: the interval of the mean delta excludes 0.
    row = next(
        line
        for line in (demo / "report" / "table.md").read_text().splitlines()
        if line.startswith("| contrastive")
    )
    assert row.split("|")[-2].strip().startswith("**+")
