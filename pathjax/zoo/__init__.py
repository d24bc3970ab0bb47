"""Public foundation models: which there are and what is known of them.

`names()` and `get(name)` need no weights, no network and no device.
"""

from pathjax.zoo.entry import Entry, count_parameters
from pathjax.zoo.registry import MODELS, get, names

__all__ = ["MODELS", "Entry", "count_parameters", "get", "names"]
