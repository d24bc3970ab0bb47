"""Packages of the extra `[text]`, imported when they are first needed."""

import importlib
from types import ModuleType


def need(module: str) -> ModuleType:
    """The module, imported.

    Raises:
      RuntimeError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeError(
            f"this needs {module}, which is not installed ({error}): "
            "pip install 'pathjax[text]'"
        ) from error
