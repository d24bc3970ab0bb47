"""The public models that pathjax knows, by name; your own as `package.module:NAME`."""

from pathjax.registry import Registry
from pathjax.zoo import natural, pathology, pathology_hf
from pathjax.zoo.entry import Entry

_ENTRIES = (*natural.ENTRIES, *pathology.ENTRIES, *pathology_hf.ENTRIES)
MODELS = Registry("public model", {entry.name: entry for entry in _ENTRIES}, of=Entry)


def names() -> tuple[str, ...]:
    """Names of the shipped models, natural images first."""
    return tuple(MODELS)


def get(name: str) -> Entry:
    """The entry of a shipped name or of `package.module:NAME`.

    Raises:
      RegistryError: Unknown name, with the nearest ones, or a failed import.
    """
    return MODELS[name]
