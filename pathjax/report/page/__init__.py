"""One self-contained HTML page of a report: `pathjax report DIR --html`.

    run folders, files in them -> gather -> sections -> render -> index.html

The page requests nothing: data, style and script are in the file, and a policy in its
head forbids every request. It shows what results files contain, only rounded.
"""

from pathjax.report.page.gather import Inputs, gather
from pathjax.report.page.render import render, write_page

__all__ = ["Inputs", "gather", "render", "write_page"]
