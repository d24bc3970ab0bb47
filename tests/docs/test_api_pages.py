"""Which modules the API shows, and on which page."""

import importlib.util
from pathlib import Path

import pytest

HOOK = Path(__file__).resolve().parents[2] / "docs" / "hooks" / "api_pages.py"


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("api_pages", HOOK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_public_module_once_in_its_room(hook, tmp_path):
    for name in (
        "__init__",
        "__main__",
        "train",
        "_hidden",
        "data/__init__",
        "data/images",
        "data/study",
        "commands/train",
        "bench/step",
    ):
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert hook.rooms(tmp_path) == {
        "pathjax": ["pathjax", "pathjax.train"],
        "data": ["pathjax.data", "pathjax.data.images", "pathjax.data.study"],
    }


def test_a_page_asks_for_each_module(hook):
    assert hook.page("data", ["pathjax.data", "pathjax.data.study"]) == (
        "# pathjax.data\n\n::: pathjax.data\n\n::: pathjax.data.study\n"
    )
    assert "- [pathjax.data](data.md), 1 module\n" in hook.index({"data": ["a"]})


def test_the_package_itself(hook):
    found = hook.rooms()
    assert "pathjax.report.compare" in found["report"]
    assert {"pathjax", "data", "models", "evals", "report", "zoo"} <= set(found)
    assert not {"bench", "commands"} & set(found)
