"""The page as text: template, style, scripts and data in one file.

A policy in the head allows the scripts and the style by their hashes and nothing else,
so that text from data can neither run nor fetch, even if it were taken for markup.
"""

import base64
import hashlib
import html
import json
from importlib import resources
from typing import Any

# In the order in which they use each other; one function scope holds them all.
SCRIPTS = (
    "base.js",
    "tables.js",
    "forest.js",
    "genes.js",
    "curves.js",
    "canvas.js",
    "scatter.js",
    "maps.js",
    "grids.js",
    "origin.js",
    "start.js",
)


def _asset(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source expression of Content Security Policy Level 3, section 2.3.1."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def escaped_json(value: Any) -> str:
    """JSON that may stand in a script element: it cannot end it or open a comment.

    Raises:
      ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate (a file name that is no UTF-8) has no encoding.
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
    # One pass: what a part holds is never taken for a place of another.
    pieces = _asset("page.html").split("{{")
    out = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        out += [parts[name], rest]
    return "".join(out)
