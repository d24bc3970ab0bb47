"""The page as text: template, style, scripts and data in one file.

A policy in the head allows the scripts and the style by their hashes and nothing else,
so that text from data can neither run nor fetch, even if it were parsed as markup.
"""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pathjax.files import write_text
from pathjax.report.page.gather import Inputs, gather
from pathjax.report.table_data import Table

# Each may use those before it; one function scope holds them all.
SCRIPTS = ("base.js", "tables.js", "forest.js", "genes.js", "curves.js", "canvas.js",
           "scatter.js", "maps.js", "grids.js", "origin.js", "start.js")  # fmt: skip


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source expression of Content Security Policy Level 3, section 2.3.1."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def escaped_json(value: Any) -> str:
    """JSON for a script element: it can neither end the element nor open a comment.

    Raises:
      ValueError: A number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate (a file name that is not UTF-8) has no encoding.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def render(sections: dict[str, Any]) -> str:
    """The HTML of `gather`'s data."""
    style, theme = _asset("page.css"), _asset("theme.js")
    script = "\n".join(['"use strict";(() => {', *map(_asset, SCRIPTS), "})();"])
    policy = (
        f"default-src 'none'; script-src {_hash(theme)} {_hash(script)}; "
        f"style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(sections["title"]),
        "style": style,
        "theme": theme,
        "data": escaped_json(sections),
        "script": script,
    }
    # One pass: the content of a part is never read as a placeholder.
    pieces = _asset("page.html").split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        out += [parts[name], rest]
    return "".join(out)


def write_page(
    sources: Sequence[str | Path],
    table: Table,
    out: str | Path,
    *,
    inputs: Inputs | None = None,
    title: str = "",
) -> Path:
    """Writes OUT/index.html; the arguments and errors are those of `gather`."""
    path = Path(out) / "index.html"
    write_text(path, render(gather(sources, table, inputs=inputs, title=title)))
    return path
