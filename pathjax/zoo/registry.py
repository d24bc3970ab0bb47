"""The public models that pathjax knows, by name.

A table of facts: importing weights and exporting them are elsewhere.
"""

import difflib

from pathjax.zoo import natural, pathology, pathology_hf
from pathjax.zoo.entry import Entry

MODELS: dict[str, Entry] = {
    entry.name: entry
    for entry in (*natural.ENTRIES, *pathology.ENTRIES, *pathology_hf.ENTRIES)
}


def names() -> tuple[str, ...]:
    """Returns the names of all models, natural images first."""
    return tuple(MODELS)


def get(name: str) -> Entry:
    """Returns what is known of a model.

    Raises:
      ValueError: for an unknown name, with the nearest ones.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name.lower(), MODELS, 3, 0.4)
        hint = f"try {', '.join(near)}" if near else "`pathjax models` lists them all"
        raise ValueError(f"unknown model {name!r}: {hint}")
    return MODELS[name]
