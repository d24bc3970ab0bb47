"""Where a run's time goes: waiting for data, stepping, saving, validating.

    python -m pathjax.train.telemetry.timing WORKDIR

`StepTimer` adds up what the host spends in each phase between two logged steps. It never
waits for the device: the loop reads a step's numbers while the next one runs, so the
device's time shows up as the host waiting for those numbers. All names begin with
`time/`; a resumed run repeats everything else in metrics.jsonl bit for bit.
"""

import argparse
import contextlib
import dataclasses
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jax

from pathjax.train.telemetry.metric_writer import read_metrics

# The loop's phases; anything else is the rest of `time/total`.
PHASES = ("data", "compile", "step", "save", "validation")
PREFIX = "time/"


@dataclasses.dataclass(frozen=True)
class Activity:
    """What a process is doing; replaced as a whole, so that threads may read it.

    Attributes:
      step: Steps finished.
      phase: One of `PHASES`, or "other".
      since: When the phase began, by `time.monotonic`.
      moved: When a step or a validation batch was last finished, or the run began.
    """

    step: int
    phase: str
    since: float
    moved: float


class StepTimer:
    """Seconds per phase of a run.

    Args:
      start: Step that the run resumes from.
      images: Images in a global batch.
      flops: Model FLOPs of a step over all devices; None if unknown.
      peak: FLOP/s of all devices together; None if unknown.
    """

    def __init__(
        self,
        start: int,
        images: int,
        flops: float | None = None,
        peak: float | None = None,
    ):
        now = time.monotonic()
        self.activity = Activity(start, "other", now, now)
        self._images, self._flops, self._peak = images, flops, peak
        self._spent = dict.fromkeys(PHASES, 0.0)
        self._flushed, self._flushed_step = now, start

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the block's time to a phase. Phases do not nest."""
        begun = time.monotonic()
        self.activity = dataclasses.replace(self.activity, phase=name, since=begun)
        try:
            yield
        finally:
            now = time.monotonic()
            self._spent[name] += now - begun
            self.activity = dataclasses.replace(self.activity, phase="other", since=now)

    def moved(self, step: int) -> None:
        """Records progress, with `step` steps done."""
        self.activity = dataclasses.replace(
            self.activity, step=step, moved=time.monotonic()
        )

    def flush(self, step: int) -> dict[str, float]:
        """Means per step since the last flush (docs/observability.md); starts again.

        `time/images_per_s` and `time/mfu` leave out saving and validating, and are
        absent if a step was compiled meanwhile.
        """
        now, steps = time.monotonic(), step - self._flushed_step
        total, spent = now - self._flushed, self._spent
        self._flushed, self._flushed_step = now, step
        self._spent = dict.fromkeys(PHASES, 0.0)
        values = {PREFIX + name: spent[name] / steps for name in PHASES}
        values |= {PREFIX + "steps": steps, PREFIX + "total": total / steps}
        training = total - spent["save"] - spent["validation"]
        if training > 0 and not spent["compile"]:
            rate = steps / training
            values[PREFIX + "images_per_s"] = self._images * rate
            if self._flops and self._peak:
                values[PREFIX + "mfu"] = self._flops * rate / self._peak
        values[PREFIX + "memory_gib"] = memory_gib()
        return values


def memory_gib() -> float:
    """Peak memory of the fullest local device; of the process itself on a CPU."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [one["peak_bytes_in_use"] for one in stats if "peak_bytes_in_use" in one]
    if peaks:
        return max(peaks) / 2**30
    # Kibibytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def note(values: dict[str, float]) -> str:
    """A flush in one line: rate, MFU, and the shares of other phases than stepping."""
    parts = []
    if PREFIX + "images_per_s" in values:
        parts.append(f"{values[PREFIX + 'images_per_s']:.4g} images/s")
    if PREFIX + "mfu" in values:
        parts.append(f"MFU {values[PREFIX + 'mfu']:.1%}")
    for name in ("data", "compile", "save", "validation"):
        share = values[PREFIX + name] / values[PREFIX + "total"]
        if name == "data" or share >= 0.01:
            parts.append(f"{name} {share:.0%}")
    return ", ".join(parts)


def totals(rows: list[dict]) -> dict[str, float]:
    """Sums over the lines of metrics.jsonl that have times.

    Returns:
      `steps`; seconds of `total` and of each of `PHASES`; `training`, which is total
      less compiling, saving and validating; and shares of that: `data_wait` and
      `save_overhead`.

    Raises:
      ValueError: No line has times.
    """
    timed = [row for row in rows if PREFIX + "total" in row]
    if not timed:
        raise ValueError(
            "no line of metrics.jsonl has times: log.every is above optim.steps"
        )
    sums = {
        name: sum(row[PREFIX + name] * row[PREFIX + "steps"] for row in timed)
        for name in ("total", *PHASES)
    }
    training = sums["total"] - sums["compile"] - sums["save"] - sums["validation"]
    return sums | {
        "steps": sum(row[PREFIX + "steps"] for row in timed),
        "training": training,
        "data_wait": sums["data"] / training,
        "save_overhead": sums["save"] / training,
    }


def main(argv: list[str] | None = None) -> int:
    """Prints the totals of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m pathjax.train.telemetry.timing",
        description=__doc__.split("\n")[0],
    )
    parser.add_argument("workdir", type=Path)
    workdir = parser.parse_args(argv).workdir
    try:
        sums = totals(read_metrics(workdir / "metrics.jsonl"))
    except (OSError, ValueError) as error:
        print(f"{workdir}: {error}", file=sys.stderr)
        return 1
    print(f"{sums['steps']:.0f} steps, {sums['training'] / sums['steps']:.4g} s each")
    for name in PHASES:
        print(f"{name:>10} {sums[name]:10.2f} s  {sums[name] / sums['total']:6.2%}")
    print(f"data wait is {sums['data_wait']:.2%} of training time,")
    print(f"saving adds {sums['save_overhead']:.2%} to it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
