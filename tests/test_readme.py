"""Every command in the README runs; the long ones at their real size, once, in CI."""

import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    return re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


def block_with(text: str) -> str:
    (found,) = [block for block in blocks() if text in block]
    return found


def bash(script: str, folder: Path, timeout: int, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_the_readme_opens_with_the_two_commands():
    """CI and the people who run these tests have used the second; the first is below."""
    first, second = blocks()[:2]
    assert first.strip() == "pip install -e . && pathjax demo"
    assert second.strip() == "pip install -e '.[test]' && pytest"
    for image in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (REPOSITORY / image).is_file()
    for link in re.findall(r"\]\((docs/[^)]*)\)", README):
        assert (REPOSITORY / link).exists()


@pytest.mark.slow
def test_step_by_step(tmp_path):
    out = bash(block_with("pathjax embed tuned"), tmp_path, 600)
    assert "results/report/table.md" in out
    assert "mean delta" in out


@pytest.mark.slow
def test_the_demo_at_its_real_size(tmp_path):
    out = bash("pathjax demo", tmp_path, 1800)
    assert "mean delta" in out
    report = tmp_path / "runs" / "demo" / "report"
    assert {"table.md", "table.csv", "table.png", "deltas.png"} <= {
        path.name for path in report.iterdir()
    }


@pytest.mark.slow
def test_the_poster(tmp_path):
    out = bash(
        f"pathjax report {REPOSITORY}/docs/data/poster.csv --out poster", tmp_path, 120
    )
    assert "0.5" in out and "0.8" in out


@pytest.mark.slow
def test_with_real_data(tmp_path, real_data):
    """The her2st block, with the models shrunk by the script's own variable."""
    (tmp_path / "her2st").symlink_to(real_data / "her2st")
    (tmp_path / "launch").symlink_to(REPOSITORY / "launch")
    script = block_with("pathjax data her2st --source")
    out = bash(script, tmp_path, 1200, VARIANT=",smoke", SEEDS="0")
    assert "0 problems" in out
    table = (tmp_path / "runs" / "her2st" / "report" / "table.md").read_text()
    assert "yardstick" in table and "expression C5" in table
