"""Packages of pathjax's extras that only some tests use; without one they are skipped."""

import importlib

import pytest


class extra:
    """A module that is imported when a test uses it: `sklearn = extra("sklearn.svm")`."""

    def __init__(self, module: str):
        self._module = module

    def __getattr__(self, name: str):
        return getattr(need(self._module), name)


def need(module: str):
    """The module; skips the test, or the file that says so at its top, without it."""
    name = module.partition(".")[0]
    pytest.importorskip(name, reason=f"needs {name}: it comes with pathjax[test-all]")
    return importlib.import_module(module)
