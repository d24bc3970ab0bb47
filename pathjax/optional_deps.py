"""Packages of pathjax's extras, imported when they are first needed."""

import importlib
from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """The module, imported.

    Args:
      module: dotted name.
      extra: of pathjax that brings it, such as "wsi".

    Raises:
      RuntimeError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeError(
            f"this needs {module}, which is not installed ({error}): "
            f"pip install 'pathjax[{extra}]'"
        ) from error
