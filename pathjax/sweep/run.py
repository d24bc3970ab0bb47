"""Trains every point of the grids, evaluates all of them, writes the table and figure.

    OUT/sweep.json                    config, overrides, grid and seeds
    OUT/POINT/seed-N/                 one training run each
    OUT/results.json, OUT/report/     of `evaluate` and `report` over all points

The same call again resumes: finished runs and results are kept. A run that fails is
named, and the others go on.
"""

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pathjax.config import load
from pathjax.data.study import Study
from pathjax.evals.candidates import Candidate
from pathjax.evals.evaluate import evaluate
from pathjax.evals.tasks import Task
from pathjax.files import write_json
from pathjax.report.table import write_report
from pathjax.report.table_data import Table
from pathjax.sweep.figure import draw_sweep
from pathjax.sweep.grid import Point, SweepError
from pathjax.train import train

log = logging.getLogger(__name__)
BASE = "base"


@dataclasses.dataclass(frozen=True)
class Job:
    """One training of a sweep."""

    point: Point
    seed: int
    workdir: Path

    @property
    def name(self) -> str:
        return f"{self.point.name} (seed {self.seed})"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep over a config.

    Attributes:
      config: `FILE.py:ARG`.
      overrides: Dotted key to value, the same for all points.
      grids: Each from `parse_grid`. A run that several grids share is trained once.
      seeds: Number of seeds per point, 0 to seeds - 1.
      out: The sweep's folder.
    """

    config: str
    overrides: Mapping[str, str]
    grids: Sequence[Sequence[Point]]
    seeds: int
    out: Path

    @functools.cached_property
    def runs(self) -> dict[str, Point]:
        """Name of each point to the point that is trained: the first of the same config.

        Raises:
          ConfigError: The first point that cannot be run.
          SweepError: Two points of one grid are the same run, or two of different grids
            would share a folder.
        """
        runs: dict[str, Point] = {}
        trained: dict[str, Point] = {}
        for grid in self.grids:
            configs: dict[str, Point] = {}
            for point in grid:
                config = self.load(Job(point, 0, self.out)).to_dict()
                text = json.dumps(config, sort_keys=True, default=str)
                if other := configs.get(text):
                    raise SweepError(
                        f"{other.name} and {point.name} are the same run: name each "
                        "value of the grid once"
                    )
                configs[text] = point
                runs[point.name] = trained.setdefault(text, point)
        if len({point.folder for point in trained.values()}) < len(trained):
            raise SweepError("two points would share a folder; rename values")
        return runs

    @property
    def points(self) -> list[Point]:
        """What is trained."""
        return list({point.name: point for point in self.runs.values()}.values())

    @property
    def jobs(self) -> list[Job]:
        """All trainings, seed by seed, so that a first table needs one seed only."""
        return [
            Job(point, seed, self.out / point.folder / f"seed-{seed}")
            for seed in range(self.seeds)
            for point in self.points
        ]

    def load(self, job: Job):
        """The checked config of a job.

        Raises:
          ConfigError: The point's keys or values do not fit the config.
        """
        values = {**self.overrides, **job.point.values, "seed": str(job.seed)}
        return load(self.config, values)

    def check(self) -> None:
        """Checks every point and records the sweep in OUT/sweep.json.

        Raises:
          ConfigError, SweepError: As `runs`; or the folder holds a sweep over another
            config; or `seed` or `init`, which a sweep sets itself or compares
            against, is part of the grid; or an override is used by no run.
        """
        keys = {key for grid in self.grids for point in grid for key in point.values}
        if taken := keys & {"seed", "init"}:
            raise SweepError(
                f"{', '.join(taken)} cannot be part of the grid: use --seeds for seeds, "
                "and one sweep per starting model"
            )
        grids = [set(point.values) for grid in self.grids for point in grid]
        always = set.intersection(*grids) | {"seed"}
        if unused := sorted(always & self.overrides.keys()):
            raise SweepError(
                f"--config.{', --config.'.join(unused)} would not be used: --grid or "
                "--seeds says what it is in each run"
            )
        if self.seeds < 1:
            raise SweepError(f"expected at least one seed, got {self.seeds}")
        file = self.out / "sweep.json"
        record = {
            "schema": 1,
            "config": self.config,
            "overrides": dict(self.overrides),
        }
        if file.exists():
            earlier = json.loads(file.read_text(encoding="utf-8"))
            different = [key for key in record if earlier.get(key) != record[key]]
            if different:
                raise SweepError(
                    f"{self.out} holds a sweep with another {' and '.join(different)}: "
                    f"{ {key: earlier.get(key) for key in different} }; choose another "
                    "--out"
                )
        points = [dict(point.values) for point in self.points]
        write_json(file, record | {"points": points, "seeds": self.seeds})

    def train(
        self, only: int | None = None, progress: Callable[..., None] | None = None
    ) -> dict[str, str]:
        """Trains all jobs, or number `only` of them.

        Returns:
          Names of the jobs that failed, with the reason.

        Raises:
          SweepError: There is no job `only`.
          Preempted: A signal stopped a run, which is saved.
        """
        jobs = self.jobs
        if only is not None and not 0 <= only < len(jobs):
            raise SweepError(f"--only {only}: expected 0 to {len(jobs) - 1}")
        failed = {}
        for number, job in enumerate(jobs):
            if only in (None, number):
                if progress:
                    progress(number, job.name)
                try:
                    train(self.load(job), job.workdir)
                # RuntimeError: XLA's, such as too little memory.
                except (ValueError, FloatingPointError, RuntimeError) as error:
                    log.warning("%s failed: %s", job.name, error)
                    failed[job.name] = str(error)
        return failed

    def candidates(self, failed: Mapping[str, str]) -> Iterator[Candidate]:
        """The starting model, if there is one, then every finished run."""
        init = self.load(self.jobs[0]).init
        base = BASE if init else None
        if init:
            yield Candidate(BASE, init)
        for job in self.jobs:
            if job.name not in failed:
                yield Candidate(job.point.name, str(job.workdir), base, job.seed)

    def evaluate(
        self,
        failed: Mapping[str, str],
        tasks: Sequence[Task],
        studies: Sequence[Study],
        progress: Callable[[int, str], None] | None = None,
    ) -> tuple[Table, dict[str, Path]]:
        """Scores all finished runs; writes the report and OUT/report/sweep.png.

        Returns:
          The table, and what was written: kind to path.

        Raises:
          SweepError: No run finished.
        """
        candidates = list(self.candidates(failed))
        if all(candidate.seed is None for candidate in candidates):
            raise SweepError("no run of the sweep finished: " + _reasons(failed))
        evaluate(candidates, studies, tasks, self.out, progress=progress)
        table, written = write_report([self.out], self.out / "report")
        path = self.out / "report" / "sweep.png"
        draw_sweep(table, self.grids, self.runs, path)
        return table, written | {"sweep": path}


def _reasons(failed: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in failed.items())[:500]
