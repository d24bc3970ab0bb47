"""Results of a task, by model and by fold of the test rows. Writes nothing."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.evals.candidates import Candidate
from pathjax.report.scores import Scored

Written = tuple[list[Path], list[str]]  # files, and notes


def model_of(item: Scored) -> str:
    """Its row's name, with the seed."""
    return Candidate(item.entry["model"], "", seed=item.entry["seed"]).label


def by(items: Sequence[Scored], key: Callable) -> dict[Any, list[Scored]]:
    """Items by their key, in order."""
    groups: dict[Any, list[Scored]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def folds_of(item: Scored) -> Iterator[tuple[slice, dict[str, Any]]]:
    """The test rows of each fit, in order, and the fit's record."""
    rounds = item.entry["hyper"].get("rounds")
    if rounds is None:
        yield slice(None), item.entry["hyper"]
        return
    start = 0
    for record in rounds.values():
        yield slice(start, start + record["n_test"]), record
        start += record["n_test"]


def finite(values: Float[np.ndarray, "n"]) -> list[float | None]:
    """Numbers, None where they are not finite: JSON has no NaN."""
    return [float(value) if np.isfinite(value) else None for value in values]
