"""docs/spatial.md: every command runs as written, on made samples."""

import shlex

import pytest
from made_visium import write_visium, write_visium_hd
from readme_blocks import REPOSITORY

from pathjax.cli import main
from pathjax.data.study import Study
from pathjax.datasets.spatial.formats import FORMATS

PAGE = REPOSITORY / "docs" / "spatial.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_commands_run(tmp_path, monkeypatch):
    for number in (1, 2):
        write_visium(tmp_path / f"S{number}", seed=number)
    write_visium_hd(tmp_path / "H1", 24, 2)
    manifest = TEXT.split("```csv\n")[1].split("```")[0]
    (tmp_path / "samples.csv").write_text(manifest)
    monkeypatch.chdir(tmp_path)
    lines = [
        line
        for block in TEXT.split("```bash\n")[1:]
        for line in block.split("```")[0].splitlines()
    ]
    assert len(lines) == 5 and all(line.startswith("pathjax ") for line in lines)
    for line in lines:
        assert not main(shlex.split(line)[1:]), line
    assert (tmp_path / "spots.png").stat().st_size > 50_000
    study = Study(tmp_path / "cohort")
    assert study.targets["grade"].classes == ("G2", "G3")
    assert study.split_names == ("patients",)
    assert len(Study(tmp_path / "hd")) == 64


def test_the_table_has_every_format():
    table = TEXT.split("## Formats")[1].split("\n\n")[1]
    names = {"ST": "Spatial Transcriptomics", "her2st": "her2st"}
    for known in FORMATS:
        assert names.get(known.name, known.name) in table, known.name
