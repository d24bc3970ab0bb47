"""The page of errors lists every one there is, and none that is not."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def errors():
    """Dotted names of the public exception classes of the package."""
    found = set()
    for path in (REPOSITORY / "pathjax").rglob("*.py"):
        module = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and re.match(
                r"[A-Z]\w*Error$", node.name
            ):
                found.add(f"{module.removesuffix('.__init__')}.{node.name}")
    return found


def test_every_error_is_explained():
    text = (REPOSITORY / "docs" / "errors.md").read_text("utf-8")
    listed = re.findall(r"^\| `(pathjax[\w.]+)` \|", text, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert len(listed) > 10
    assert set(listed) == errors()
