"""Writes the page beside the report's other files."""

from collections.abc import Sequence
from pathlib import Path

from pathjax.files import write_text
from pathjax.report.page.gather import Inputs, gather
from pathjax.report.page.render import render
from pathjax.report.table_data import Table


def write_page(
    sources: Sequence[str | Path],
    table: Table,
    out: str | Path,
    *,
    inputs: Inputs | None = None,
    title: str = "",
) -> Path:
    """Writes OUT/index.html.

    Args:
      sources: run folders, or the one CSV that `table` was read from.
      table: of `write_report`, so that nothing is drawn a second time.
      out: the report's folder.
      inputs: further files; what lies in the run folders is found by itself.
      title: of the page; the table's, or the first source's name, if left.

    Raises:
      PageError: files of a section cannot be read (all of them listed).
      ResultsError: a run folder cannot be read.
    """
    path = Path(out) / "index.html"
    write_text(path, render(gather(sources, table, inputs=inputs, title=title)))
    return path
