"""Objectives by name: what turns a model and a batch into losses per example.

To add one, write a module with `build(vit, n_genes, *, options) -> Objective` and enter
it in `BUILDERS`. Its options are its keyword arguments, checked here by name.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from pathjax.models.vit import ViTConfig
from pathjax.objectives import contrastive, dino, regression
from pathjax.objectives.objective import (
    Batch,
    Objective,
    ObjectiveError,
    Params,
    encode,
    on_embeddings,
)

__all__ = [
    "BUILDERS",
    "Batch",
    "Objective",
    "ObjectiveError",
    "Params",
    "build",
    "encode",
    "on_embeddings",
    "option_names",
]

BUILDERS: dict[str, Callable[..., Objective]] = {
    "contrastive": contrastive.build,
    "regression": regression.build,
    "dino": dino.build,
}


def option_names(name: str) -> tuple[str, ...]:
    """The options of the objective `name`.

    Raises:
      ObjectiveError: if there is no such objective.
    """
    if name not in BUILDERS:
        raise ObjectiveError(f"unknown objective {name!r}: {near(name, BUILDERS)}")
    found = inspect.signature(BUILDERS[name]).parameters.values()
    return tuple(p.name for p in found if p.kind is p.KEYWORD_ONLY)


def build(
    name: str, vit: ViTConfig, n_genes: int | None = None, **options: Any
) -> Objective:
    """Builds an objective.

    Args:
      name: a key of `BUILDERS`.
      vit: configuration of the encoder.
      n_genes: length of the gene panel; None where there is no expression.
      options: of the objective; see its module.

    Raises:
      ObjectiveError: for an unknown name or option, with the nearest, or for options
        that cannot be built.
    """
    known = option_names(name)
    unknown = [
        f"{option!r}: {near(option, known)}"
        for option in options
        if option not in known
    ]
    if unknown:
        raise ObjectiveError(
            f"unknown option of objective {name}, {'; '.join(unknown)}"
        )
    return BUILDERS[name](vit, n_genes, **options)


def near(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name, known, 3, 0.4)
    return f"try {', '.join(close or known)}"
