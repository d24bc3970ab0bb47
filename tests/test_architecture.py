"""docs/architecture.md is true: layers, circles, sizes, and the lists of files."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "pathjax"
PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text("utf-8")) for path in FILES}


def imports(tree: ast.AST) -> set[str]:
    """Modules of pathjax that `tree` imports, inside functions too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
    return {name for name in names if name in MODULES and name != "pathjax"}


def linked(module: str) -> set[str]:
    """What a module imports, and what the packages that it imports re-export."""
    direct = imports(MODULES[module])
    return direct | {
        name
        for package in direct
        for name in imports(MODULES[package])
        if name.startswith(f"{package}.")
    }


def layers() -> list[str]:
    """Packages in the order of the page's table; the root's modules are before it."""
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    names = [re.findall(r"`(\w+)(?:/|\.py)`", row) for row in rows]
    return [name for row in names for name in row]


ORDER = {name: index for index, name in enumerate(layers())}


def layer_of(module: str) -> int:
    return ORDER.get(module.split(".")[1], -1)


def test_every_package_has_a_row():
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert packages - {"__pycache__"} == set(ORDER) - {"cli"}


@pytest.mark.parametrize(
    "module", sorted(set(MODULES) - {"pathjax", "pathjax.__main__"})
)
def test_imports_run_one_way(module):
    """From a layer to its left, or inside a package; also for late imports."""
    package = module.split(".")[1]
    backwards = {
        name
        for name in imports(MODULES[module])
        if name.split(".")[1] != package and layer_of(name) >= layer_of(module)
    }
    assert not backwards


def test_there_is_no_import_circle():
    graph = {name: imports(tree) - {name} for name, tree in MODULES.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for imported in graph[name]:
                visit(imported, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_linen_stays_in_models():
    users = {
        path.relative_to(PACKAGE).parts[0]
        for path in FILES
        if re.search(
            r"^\s*(from|import) flax\.linen", path.read_text("utf-8"), re.MULTILINE
        )
        or "from flax import linen" in path.read_text("utf-8")
    }
    assert users == {"models"}


def test_the_config_object_stays_at_the_edge():
    users = [path for path in FILES if "ml_collections" in path.read_text("utf-8")]
    assert {str(path.relative_to(PACKAGE)) for path in users} == {"config/files.py"}


def test_sizes():
    """Few modules at the root, and no large file."""
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert len(list(PACKAGE.glob("*.py"))) <= 10
    assert not {path.name for path, count in lines.items() if count > 400}


def test_the_files_that_the_page_names_exist():
    names = re.findall(r"`((?:pathjax|tests|docs|configs)/[\w/.-]+)`", PAGE)
    assert names and not [name for name in names if not (REPOSITORY / name).exists()]


@pytest.mark.parametrize(
    ("heading", "most"), [("a batch passes", 25), ("a task passes", 15)]
)
def test_the_lists_of_files(heading, most):
    """Each file imports, or is imported by, one that comes before it."""
    section = PAGE.split(f"## The files {heading}")[1].split("\n## ")[0]
    files = re.findall(r"^\d+\. `(pathjax/[\w/]+\.py)`", section, re.MULTILINE)
    names = [module_name(REPOSITORY / file) for file in files]
    assert 5 <= len(names) <= most
    for index, name in enumerate(names[1:], start=1):
        assert any(
            name in linked(other) or other in linked(name) for other in names[:index]
        ), f"{name} has no import in common with the files before it"
