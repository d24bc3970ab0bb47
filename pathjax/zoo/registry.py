"""The public models that pathjax knows, by name; your own as `package.module:NAME`."""

from pathjax.registry import Registry
from pathjax.zoo import natural, pathology, pathology_hf
from pathjax.zoo.entry import Entry

MODELS = Registry(
    "public model",
    {
        entry.name: entry
        for entry in (*natural.ENTRIES, *pathology.ENTRIES, *pathology_hf.ENTRIES)
    },
    of=Entry,
)


def names() -> tuple[str, ...]:
    """Returns the names of the shipped models, natural images first."""
    return tuple(MODELS)


def get(name: str) -> Entry:
    """Returns what is known of a model.

    Args:
      name: A shipped name, or `package.module:NAME` of an `Entry` of your own.

    Raises:
      RegistryError: Unknown name, with the nearest ones, or a failed import.
    """
    return MODELS[name]
