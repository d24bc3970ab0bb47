"""One self-contained HTML page of a report: `pathjax report DIR --html`.

    run folders, files beside them -> gather -> sections -> render -> index.html

The page reads nothing but itself: data, style and script are in the file, and a policy
in its head forbids every request. It shows what results files say and computes nothing
that is not in them, apart from rounding.
"""

from pathjax.report.page.gather import Inputs, PageError, gather
from pathjax.report.page.render import render
from pathjax.report.page.write import write_page

__all__ = ["Inputs", "PageError", "gather", "render", "write_page"]
