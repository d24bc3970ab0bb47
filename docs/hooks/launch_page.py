"""launch/README.md as a page of the site; it stays beside the scripts it describes."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "launch" / "README.md"


def on_files(files, config):
    """Adds the page; called by mkdocs."""
    from mkdocs.structure.files import File

    text = PAGE.read_text(encoding="utf-8")
    files.append(File.generated(config, "launch.md", content=text))
    return files
