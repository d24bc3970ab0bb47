"""Warns of a run that learns nothing: once of each of its objective's concerns.

What is a concern, and what to try, is the objective's (`Objective.concerns`); it reads
the numbers that a step logs anyway. Nothing here stops a run.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

# Log lines in a row with a concern before it is a warning: single batches are noisy.
LINES = 3


@dataclasses.dataclass
class Learning:
    """Called at each log line.

    Attributes:
      concerns: The objective's.
      warmup: Steps before which nothing is said.
      speaks: Whether this process warns.
    """

    concerns: Callable[[Mapping[str, float]], Mapping[str, str]]
    warmup: int
    speaks: bool = True
    _lines: dict[str, int] = dataclasses.field(default_factory=dict)

    def __call__(self, step: int, means: Mapping[str, float]) -> None:
        """Warns of what has been a concern for `LINES` log lines in a row."""
        if step <= self.warmup or not self.speaks:
            return
        found = self.concerns(means)
        # A name that was warned of stays, so that it is warned of once.
        said = {name: n for name, n in self._lines.items() if n >= LINES}
        self._lines = {name: self._lines.get(name, 0) + 1 for name in found} | {
            name: LINES + 1 for name in said
        }
        for name, message in found.items():
            if self._lines[name] == LINES:
                log.warning("step %d: %s", step, message)
