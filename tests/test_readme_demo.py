"""The README's first command, at its real size: the longest test by far."""

import pytest
from readme_blocks import bash


@pytest.mark.slow
def test_the_demo_at_its_real_size(tmp_path):
    out = bash("pathjax demo", tmp_path, 1800)
    assert "mean delta" in out
    report = tmp_path / "runs" / "demo" / "report"
    assert {"table.md", "table.csv", "table.png", "deltas.png"} <= {
        path.name for path in report.iterdir()
    }
