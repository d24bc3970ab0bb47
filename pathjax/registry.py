"""Extension points: items by shipped name, or by `package.module:Name`.

Objectives, probes, metrics, datasets and public models are looked up here, so that
one's own are given by the same words as shipped ones and live in any package that
Python can import, the working directory included. A name that a user gives is imported;
one that a data file gives, such as a model file, is not, see `Registry.imported`. This
module holds no items itself.

`source_hashes` tells whether one's own item is the same code as before; shipped items
are identified by the version of pathjax.
"""

import dataclasses
import difflib
import hashlib
import importlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

# Module -> its spec, which importing it anew replaces, and the SHA-256 of its file.
_hashed: dict[str, tuple[Any, str | None]] = {}


class RegistryError(ValueError):
    """An unknown name, or an extension that cannot be imported or is of another kind."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean 'a' or 'b'?`, or the known names when none is close."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 3, 0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(known[:12]) + (f", ... ({len(known)})" if len(known) > 12 else "")
    return f"expected one of {shown}"


def import_module(name: str) -> ModuleType:
    """Imports an installed module, or one of the working directory."""
    # Last, so that a file of the working directory never hides an installed one.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module = importlib.import_module(name)
    _sha256(module)  # now, should its file be edited later
    return module


def _where(module: str, error: Exception) -> str:
    """What to do about a module that is nowhere; "" if it is there and lacks another."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    if not f"{module}.".startswith(f"{error.name}."):
        return ""
    file = module.replace(".", "/") + ".py"
    return f" Run in the folder of {file}, or set PYTHONPATH to it."


def allow_code(modules: Iterable[str]) -> None:
    """Imports modules that the user trusts, so that files may name their items.

    Raises:
      RegistryError: One cannot be imported.
    """
    for name in modules:
        try:
            import_module(name)
        except (ImportError, ValueError) as error:
            raise RegistryError(
                f"--allow-code {name}: expected a module that is installed or in this "
                f"folder: {error}.{_where(name, error)}"
            ) from error


class Registry(Mapping[str, T], Generic[T]):
    """Shipped items of one kind by name, and others by `package.module:Name`.

    Iteration and `len` cover the shipped items only.

    Args:
      kind: What an item is, for messages, such as "objective".
      items: Shipped items by name.
      of: Type that every item is an instance of, or, if items are classes, a subclass
        of. Checked for what is imported by path.
    """

    def __init__(self, kind: str, items: Mapping[str, T], of: type):
        self.kind = kind
        self._items = dict(items)
        self._of = of

    def __getitem__(self, name: str) -> T:
        """The item called `name`.

        Raises:
          RegistryError: Unknown name, failed import, or an object of another kind.
        """
        if name in self._items:
            return self._items[name]
        if ":" in name:
            return self._import(name)
        raise RegistryError(
            f"unknown {self.kind} {name!r}; {did_you_mean(name, self._items)} "
            "Your own is given as package.module:Name."
        )

    def imported(self, name: str) -> T:
        """The item called `name` in a file: shipped, or of a module imported before.

        A file of others must not choose which code runs.

        Raises:
          RegistryError: As `self[name]`, or its module is not imported.
        """
        module = name.partition(":")[0]
        if name not in self._items and ":" in name and module not in sys.modules:
            raise RegistryError(
                f"the file names {self.kind} {name!r}, which is code outside pathjax: "
                f"if you trust it, add --allow-code {module} (in Python, import it first)"
            )
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def name_of(self, item: T) -> str:
        """The name that `self[name]` finds `item` by."""
        for name, shipped in self._items.items():
            if shipped is item:
                return name
        origin: Any = item if isinstance(item, type) else type(item)
        return f"{origin.__module__}:{origin.__qualname__}"

    def _import(self, path: str) -> T:
        module, _, attribute = path.partition(":")
        try:
            item = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise RegistryError(
                f"cannot import {self.kind} {path!r}: {error}. Expected "
                f"package.module:Name, importable from here or installed.{_where(module, error)}"
            ) from error
        is_one = isinstance(item, self._of) or (
            isinstance(item, type) and issubclass(item, self._of)
        )
        if not is_one:
            raise RegistryError(
                f"{path} is {type(item).__name__}, expected {self._of.__module__}."
                f"{self._of.__qualname__}"
            )
        return item


def source_hashes(name: str, item: Any) -> dict[str, str]:
    """SHA-256 of the source files of one's own item, by module; empty if it is shipped.

    They are the module in its name, those of its class and the bases of that, and those
    of the functions and dataclasses in its fields, such as a metric's score. Other
    modules that these import are not included.

    Args:
      name: As given to a `Registry`.
      item: What the registry returned for it.
    """
    path, colon, _ = name.partition(":")
    hashes = {}
    for module in sorted(_modules(item) | ({path} if colon else set())):
        top = module.partition(".")[0]
        if top == "pathjax" or top in sys.stdlib_module_names:
            continue
        if digest := _sha256(sys.modules[module]):
            hashes[module] = digest
        else:
            log.warning(
                "%s has no source file (%s): whether its code has changed cannot be "
                "checked",
                *(name, module),
            )
    return hashes


def _modules(item: Any) -> set[str]:
    """Names of the imported modules that define an item."""
    kind = item if isinstance(item, type) else type(item)
    names = {base.__module__ for base in kind.__mro__}
    names.add(getattr(item, "__module__", None) or "")
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        for field in dataclasses.fields(item):
            value = getattr(item, field.name)
            if callable(value) or dataclasses.is_dataclass(value):
                names |= _modules(value)
    return {name for name in names if name in sys.modules}


def _sha256(module: ModuleType) -> str | None:
    """Of a module's file when it was first asked for; None without a file.

    A file that was edited since the import is not the code that runs.
    """
    known = _hashed.get(module.__name__)
    if known is None or known[0] is not module.__spec__:
        path = getattr(module, "__file__", None)
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else None
        known = _hashed[module.__name__] = module.__spec__, digest
    return known[1]
