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


def imports(tree: ast.AST, *, top_level: bool = False) -> set[str]:
    """Modules of pathjax that `tree` imports, inside functions too unless top_level."""
    nodes = tree.body if top_level else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if inner in MODULES else node.module)
    return {name for name in names if name in MODULES and name != "pathjax"}


def layers() -> list[set[str]]:
    """The layers that the page lists, left to right."""
    block = PAGE.split("```layers\n")[1].split("```")[0]
    return [set(line.split()) for line in block.strip().splitlines()]


def layer_of(module: str) -> int:
    package = module.split(".")[1]
    (index,) = (i for i, layer in enumerate(layers()) if package in layer)
    return index


def test_every_package_has_a_layer():
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    known = set.union(*layers())
    assert (packages | modules) - {"__pycache__", "__init__"} == known


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"pathjax"}))
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
    graph = {
        name: imports(tree, top_level=True) - {name} for name, tree in MODULES.items()
    }
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
    users = {
        str(path.relative_to(PACKAGE))
        for path in FILES
        if "ConfigDict" in path.read_text("utf-8")
    }
    assert users <= {"config.py"} | {f for f in users if f.startswith("commands/")}


def test_sizes():
    """Few modules at the root, no file over 400 lines, 36,000 lines in all."""
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert len(list(PACKAGE.glob("*.py"))) <= 10
    assert not {path.name for path, count in lines.items() if count > 400}
    assert sum(lines.values()) <= 36_000


def test_the_files_that_the_page_names_exist():
    names = set(re.findall(r"`((?:pathjax|tests|docs|configs)/[\w/.-]+)`", PAGE))
    names |= {
        f"pathjax/{name}"
        for name in re.findall(r"^\d+\. `([\w/]+\.py)`", PAGE, re.MULTILINE)
    }
    assert names and not {name for name in names if not (REPOSITORY / name).exists()}


@pytest.mark.parametrize("heading", ["A batch", "A task"])
def test_the_way_of_a_batch_and_of_a_task(heading):
    """Each file of a list is imported by, or imports, one that comes before it."""
    section = PAGE.split(f"## {heading}")[1].split("\n## ")[0]
    files = re.findall(r"^\d+\. `([\w/]+\.py)`", section, re.MULTILINE)
    names = [module_name(PACKAGE / file) for file in files]
    assert 5 <= len(names) <= (25 if heading == "A batch" else 15)
    for index, name in enumerate(names[1:], start=1):
        before = names[:index]
        assert any(
            name in imports(MODULES[other]) or other in imports(MODULES[name])
            for other in before
        ), f"{name} has no link to {before}"
