"""docs/extend/spots.md: the page's code, in order, in one session."""

import re
import runpy
from pathlib import Path

import numpy as np
from made_spots import picture, save, spots

from pathjax.data.check import check_study
from pathjax.data.study import Study

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extend" / "spots.md"


def test_the_pages_code_runs(tmp_path, monkeypatch, capsys):
    adata = spots()
    adata.write_h5ad(tmp_path / "section.h5ad")
    save(tmp_path / "slide.png", picture())
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    (tmp_path / "page.py").write_text(code, encoding="utf-8")
    session = runpy.run_path(str(tmp_path / "page.py"))
    out = capsys.readouterr().out
    assert "36 tiles; labels: zone, total_counts" in out
    assert "'train': ('P" in out and "'test': ('P" in out
    assert check_study(Study("study")).problems == ()
    assert session["adata"].n_obs == 72
    np.testing.assert_allclose(
        session["adata"].obsm["spatial"][:36], adata.obsm["spatial"]
    )
