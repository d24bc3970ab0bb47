"""The site: every page is in its navigation, and it builds without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"


def test_every_page_is_in_the_navigation_once():
    text = (REPOSITORY / "mkdocs.yml").read_text("utf-8")
    listed = re.findall(r": ([\w/-]+\.md)$", text.split("\nnav:\n")[1], re.MULTILINE)
    made = {"api/index.md", "launch.md"}  # by docs/hooks
    assert len(listed) == len(set(listed))
    pages = [*DOCS.glob("*.md"), *DOCS.glob("extend/*.md")]
    assert set(listed) - made == {str(path.relative_to(DOCS)) for path in pages}


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("material") is None
    or importlib.util.find_spec("mkdocstrings_handlers") is None,
    reason="the site is built with the [docs] extra",
)
def test_it_builds_strictly_and_fetches_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "index.html").read_text("utf-8")
    assert not re.findall(
        r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//', start
    )
    api = (tmp_path / "api" / "report.html").read_text("utf-8")
    assert "pathjax.report.compare.load_runs" in api
    assert not (tmp_path / "hooks").exists()
