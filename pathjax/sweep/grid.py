"""The grid of a sweep: `KEY=VALUE,VALUE` words to points. Nothing is run here."""

import dataclasses
import itertools
import re
from collections.abc import Sequence


class SweepError(ValueError):
    """A sweep that cannot be run; the message lists all problems."""


@dataclasses.dataclass(frozen=True)
class Point:
    """One combination of values.

    Attributes:
      values: Config key to value, as text.
    """

    values: dict[str, str]

    @property
    def name(self) -> str:
        """The point's row in the table, such as `optim.lr 1e-4, adapt.rank 8`."""
        return ", ".join(f"{key} {value}" for key, value in self.values.items())

    @property
    def folder(self) -> str:
        """The point's folder, such as `optim.lr-1e-4_adapt.rank-8`."""
        words = (f"{key}-{value}" for key, value in self.values.items())
        return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words))


def parse_grid(words: Sequence[str]) -> list[Point]:
    """All combinations of `KEY=VALUE,VALUE,...` words, the last key fastest.

    Commas within brackets belong to the value: `objective.widths=[256],[256,128]`.

    Raises:
      SweepError: A word has no values, a key or a value is given twice, or two points
        would share a folder.
    """
    axes: dict[str, list[str]] = {}
    problems = []
    for word in words:
        key, _, text = word.partition("=")
        values = [value.strip() for value in re.split(r",(?![^\[]*\])", text)]
        if not key or "" in values:
            problems.append(f"expected KEY=VALUE,VALUE, got {word!r}")
        elif key in axes:
            problems.append(f"{key} is given twice")
        elif len(set(values)) < len(values):
            problems.append(f"{word}: a value is given twice")
        axes[key] = values
    if problems or not axes:
        raise SweepError("; ".join(problems or ["the grid is empty"]))
    points = [
        Point(dict(zip(axes, combination, strict=True)))
        for combination in itertools.product(*axes.values())
    ]
    folders = [point.folder for point in points]
    if len(set(folders)) < len(folders):
        raise SweepError("two points of the grid would share a folder; rename values")
    return points
