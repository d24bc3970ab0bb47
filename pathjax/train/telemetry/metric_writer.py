"""Metrics: JSON lines are the record, TensorBoard is optional.

A resumed run drops the lines past its checkpoint before it continues, so the file of a
killed run ends up as that of an uninterrupted one (`time` and `time/...` aside).
"""

import json
import math
import time
from pathlib import Path
from typing import Self

from pathjax.files import names_full_disk, write_text


class MetricWriter:
    """Appends metrics to `metrics.jsonl`; a context manager that closes the file.

    Args:
      workdir: The run's folder.
      step: The step that the run resumes from; later lines are dropped.
      tensorboard: Also write TensorBoard events (needs the [tensorboard] extra).
      active: False writes nothing (all processes but the first).
      validated: False when the validation at `step` is still to be done (again).
    """

    def __init__(
        self,
        workdir: Path,
        step: int,
        tensorboard: bool = False,
        active: bool = True,
        validated: bool = True,
    ):
        self._file = self._board = None
        if not active:
            return
        self._path = path = workdir / "metrics.jsonl"
        if path.exists():
            kept = [
                row
                for row in read_metrics(path)
                if row["step"] < step
                or (row["step"] == step and (validated or not _is_validation(row)))
            ]
            write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")  # closed in __exit__
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=step)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Appends one line; a value that is not finite is null, as JSON has no NaN."""
        if self._file is None:
            return
        row = {"step": step, "time": round(time.time(), 3)} | {
            key: float(value) if math.isfinite(value) else None
            for key, value in values.items()
        }
        with names_full_disk(self._path):
            self._file.write(json.dumps(row, allow_nan=False) + "\n")
            self._file.flush()
        if self._board:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for target in filter(None, (self._file, self._board)):
            with names_full_disk(self._path):
                target.close()


def _is_validation(row: dict) -> bool:
    return any(name.startswith("val/") for name in row)


def read_metrics(path: Path) -> list[dict]:
    """The lines of a metrics file; a last line that a kill cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
