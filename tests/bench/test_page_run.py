"""The made-up run is one that a report can be made of, and its page weighs little."""

import pytest

from pathjax.bench.page import BAR_BYTES
from pathjax.bench.page_run import PageOptions, write_run
from pathjax.report.compare import compare, load_runs
from pathjax.report.page import gather, render
from pathjax.report.page.gather import WANTING


@pytest.mark.slow
def test_a_page_of_2000_genes_and_20000_points_is_under_its_bar(tmp_path):
    options = PageOptions()
    assert (options.genes, options.points) == (2000, 20_000)
    write_run(tmp_path / "run", options)
    table = compare(load_runs([tmp_path / "run"]), replicates=2, permutations=2)
    sections = gather([tmp_path / "run"], table)
    assert set(WANTING) - set(sections) == {"grids"}
    assert len(sections["genes"][0]["genes"]) == 2000
    assert len(sections["points"][0]["x"]) == 20_000
    assert len(sections["curves"]) == 6
    assert 500_000 < len(render(sections).encode()) < BAR_BYTES
