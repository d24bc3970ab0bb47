"""Pages of the API, one for each room of the package, made while the site is built.

    pathjax/**/*.py -> rooms -> api/ROOM.md, which mkdocstrings fills from docstrings

A room is a folder of the package, or the modules at its top; a module that begins with
an underscore, a command of the command line and a program of the benches is left out.
Nothing is imported: names come from files.
"""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "pathjax"
LEFT_OUT = ("bench", "commands")
TOP = "pathjax"


def rooms(package: Path = PACKAGE) -> dict[str, list[str]]:
    """Room to the dotted names of its modules, the package's own docstring first."""
    found: dict[str, list[str]] = {TOP: []}
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        parts = list(inside.with_suffix("").parts)
        if parts[0] in LEFT_OUT or parts[-1] == "__main__":
            continue
        if parts[-1] == "__init__":
            parts.pop()
        elif parts[-1].startswith("_"):
            continue
        room = TOP if len(inside.parts) == 1 else inside.parts[0]
        found.setdefault(room, []).append(".".join([TOP, *parts]))
    return {room: sorted(names) for room, names in found.items()}


def name(room: str) -> str:
    """Dotted name of a room."""
    return room if room == TOP else f"{TOP}.{room}"


def page(room: str, modules: list[str]) -> str:
    """Markdown of a room."""
    parts = [f"# {name(room)}\n"]
    parts += [f"::: {module}\n" for module in modules]
    return "\n".join(parts)


def index(found: dict[str, list[str]]) -> str:
    """Markdown of the list of rooms."""
    lines = ["# API\n", "From the docstrings. Each room of the package has a page.\n"]
    for room, modules in found.items():
        count = f"{len(modules)} module" + ("" if len(modules) == 1 else "s")
        lines.append(f"- [{name(room)}]({room}.md), {count}")
    return "\n".join(lines) + "\n"


def on_config(config):
    """Puts the pages below `API` in the navigation; called by mkdocs."""
    pages = [{name(room): f"api/{room}.md"} for room in rooms()]
    for section in config.nav:
        for entries in section.values():
            for entry in entries if isinstance(entries, list) else ():
                if "API" in entry:
                    entry["API"] = ["api/index.md", *pages]
    return config


def on_files(files, config):
    """Adds the pages; called by mkdocs."""
    # Here, so that what a page holds can be tested without mkdocs.
    from mkdocs.structure.files import File

    found = rooms()
    pages = {"api/index.md": index(found)}
    pages |= {f"api/{room}.md": page(room, names) for room, names in found.items()}
    for place, text in pages.items():
        files.append(File.generated(config, place, content=text))
    return files
