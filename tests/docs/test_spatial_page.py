"""docs/spatial.md and spatial_formats.md: commands run as written, on made samples."""

import shlex

import pytest
from made_visium import write_visium, write_visium_hd
from readme_blocks import REPOSITORY

from pathjax.cli import main
from pathjax.data.study import Study
from pathjax.datasets.spatial.formats import FORMATS

FLOW, NEEDS = (
    (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    for name in ("spatial.md", "spatial_formats.md")
)


@pytest.mark.slow
def test_the_commands_run(tmp_path, monkeypatch):
    for number in (1, 2):
        write_visium(tmp_path / f"S{number}", seed=number)
    write_visium_hd(tmp_path / "H1", 24, 2)
    manifest = FLOW.split("```csv\n")[1].split("```")[0]
    (tmp_path / "samples.csv").write_text(manifest)
    monkeypatch.chdir(tmp_path)
    lines = [
        line
        for block in (FLOW + NEEDS).split("```bash\n")[1:]
        for line in block.split("```")[0].splitlines()
        if "idc" not in line  # HEST-bench has a test of its own
    ]
    assert len(lines) == 5 and all(line.startswith("pathjax ") for line in lines)
    for line in lines:
        assert not main(shlex.split(line)[1:]), line
    assert (tmp_path / "spots.png").stat().st_size > 50_000
    study = Study(tmp_path / "cohort")
    assert study.targets["grade"].classes == ("G2", "G3")
    assert study.split_names == ("patients",)
    assert len(Study(tmp_path / "hd")) == 64


def test_the_pages_have_every_format():
    table = NEEDS.split("\n\n")[2]
    for known in FORMATS:
        assert f"| {known.name}" in table, known.name
        assert {"ST": "Ståhl"}.get(known.name, known.name) in FLOW, known.name
