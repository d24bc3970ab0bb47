"""Reference of the config: every key with its default and meaning, and shipped files.

Meanings are the comments of fields and the entries under `Attributes:` in docstrings, so
that the page docs/config.md and `pathjax train --config.help` say what the code says.
"""

import ast
import dataclasses
import inspect
import io
import json
import re
import textwrap
import tokenize
from typing import Any

from pathjax.config.files import shipped_folder
from pathjax.config.run import RunConfig
from pathjax.gene_towers import TOWERS
from pathjax.models.variants import ViTConfig
from pathjax.objectives import OBJECTIVES

# Fields of the encoder that other keys set: `data.image_px` and the section `adapt`.
SET_ELSEWHERE = ("image_px", "lora")
# Option of objectives that has options of its own.
TOWER = "expression_tower"


@dataclasses.dataclass(frozen=True)
class Row:
    """One key: its dotted name, its default as it is written in a flag, its meaning."""

    key: str
    default: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Section:
    """Rows that belong together.

    Attributes:
      name: The part of their keys before the dot; "" for keys without one.
      title: A line on what they are for.
      rows: One per key.
    """

    name: str
    title: str
    rows: tuple[Row, ...]


def sections() -> list[Section]:
    """All keys of a run, with the options of the encoder and of shipped objectives."""
    run = RunConfig()
    single, parts = [], []
    for field in dataclasses.fields(run):
        value = getattr(run, field.name)
        if dataclasses.is_dataclass(value):
            parts += _parts(field.name, type(value))
        else:
            single.append(field.name)
    return [Section("", "The run", _rows(RunConfig, "", single)), *parts]


def _parts(name: str, kind: type) -> list[Section]:
    names = [f.name for f in dataclasses.fields(kind) if f.name != "options"]
    prefix = f"{name}."
    parts = [Section(name, _title(kind), _rows(kind, prefix, names))]
    if name == "model":
        fields = [f.name for f in dataclasses.fields(ViTConfig)]
        kept = [field for field in fields if field not in SET_ELSEWHERE]
        title = "Options that differ from the variant or from the model given as `init`"
        parts.append(Section(name, title, _rows(ViTConfig, prefix, kept)))
    if name == "objective":
        for key in OBJECTIVES:
            shipped, names = OBJECTIVES[key], OBJECTIVES[key].option_names()
            title = f"Options of `{key}`: {_title(shipped)}"
            for base, other in OBJECTIVES.items():
                if other is not shipped and issubclass(shipped, other):
                    names = [n for n in names if n not in other.option_names()]
                    title += f"; has those of `{base}` too"
            names = [n for n in names if n != TOWER]
            rows = _rows(shipped, prefix, names)
            parts.append(Section(name, title, rows))
        parts.append(_towers(f"{prefix}{TOWER}"))
    return parts


def _towers(name: str) -> Section:
    """All gene towers' options in one section."""
    known = " or ".join(f'"{tower}"' for tower in TOWERS)
    rows = [Row(f"{name}.name", "mlp", f"{known}, or `package.module:Class`")]
    for key, tower in TOWERS.items():
        own = _rows(tower, f"{name}.", tower.option_names())
        rows += [Row(r.key, r.default, f"`{key}`: {r.meaning}") for r in own]
    title = "The gene tower of `contrastive` and `joint` (docs/towers.md)"
    return Section(name, title, tuple(rows))


def _rows(kind: type, prefix: str, names) -> tuple[Row, ...]:
    """Rows of some fields of a dataclass."""
    described, rows = meanings(kind), []
    for field in dataclasses.fields(kind):
        if field.name in names:
            default = field.default
            shown = (
                "(of the variant)"
                if default is dataclasses.MISSING
                else _shown(default)
            )
            rows.append(Row(prefix + field.name, shown, described[field.name]))
    return tuple(rows)


def _shown(value: Any) -> str:
    """A value as a flag takes it: JSON, and text without quotes."""
    return value if value and isinstance(value, str) else json.dumps(value)


def _title(kind: type) -> str:
    return (
        inspect.cleandoc(kind.__doc__).split("\n\n")[0].replace("\n", " ").rstrip(".")
    )


def meanings(kind: type) -> dict[str, str]:
    """Field to its meaning, from the comment on its line or else from `Attributes:`."""
    source = textwrap.dedent(inspect.getsource(kind))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = _attributes(inspect.cleandoc(kind.__doc__ or ""))
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign) and node.end_lineno in comments:
            found[node.target.id] = comments[node.end_lineno]
    return {
        name: text[:1].upper() + text[1:].rstrip(".") for name, text in found.items()
    }


def _attributes(docstring: str) -> dict[str, str]:
    """The entries under `Attributes:`; names that share an entry share its text."""
    _, _, block = docstring.partition("Attributes:\n")
    entries = re.split(r"^ {2}(?=\w)", block.split("\n\n")[0], flags=re.MULTILINE)
    found = {}
    for entry in entries[1:]:
        names, _, text = " ".join(entry.split()).partition(": ")
        found |= dict.fromkeys(names.split(", "), text)
    return found


def shipped() -> list[tuple[str, str, str]]:
    """(file, its words after the colon, what it is for) of each shipped config."""
    rows = []
    for path in sorted(shipped_folder().glob("[!_]*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        (function,) = (
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == "get_config"
        )
        first = [ast.get_docstring(node).split("\n\n")[0] for node in (function, tree)]
        words, purpose = (" ".join(text.split()).rstrip(".") for text in first)
        rows.append((f"configs/{path.name}", words, purpose))
    return rows


def shipped_text() -> str:
    """Shipped configs with their words, for the command line."""
    lines = ["shipped configs, and the words after the colon:"]
    for file, words, _ in shipped():
        lines += [f"  {file}", f"    {words}".replace("`", "")]
    return "\n".join(lines)


def text() -> str:
    """The reference for the command line."""
    head = (
        "--config=FILE.py:WORDS chooses a config, --config.KEY=VALUE sets a key. Values\n"
        "are JSON (null is none), text without quotes. All keys with their defaults,\n"
        "from which a config file starts:"
    )
    parts = [head]
    for section in sections():
        lines = [f"{section.name or 'run'}: {section.title}".replace("`", "")]
        for row in section.rows:
            lines.append(f"  {row.key} = {row.default}")
            lines += textwrap.wrap(
                row.meaning.replace("`", ""),
                width=80,
                initial_indent=" " * 6,
                subsequent_indent=" " * 6,
            )
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, shipped_text()])


def markdown() -> str:
    """The reference for docs/config.md, from the shipped configs on."""
    lines = ["## Shipped configs", "", "| file | words | for |", "|---|---|---|"]
    lines += [f"| `{file}` | {words} | {use} |" for file, words, use in shipped()]
    lines += ["", "## All keys"]
    for section in sections():
        heading = f"`{section.name}`: " if section.name else ""
        lines += ["", f"### {heading}{section.title}", ""]
        lines += ["| key | default | meaning |", "|---|---|---|"]
        for row in section.rows:
            meaning = row.meaning.replace("|", "\\|")
            lines.append(f"| `{row.key}` | `{row.default}` | {meaning} |")
    return "\n".join(lines) + "\n"
