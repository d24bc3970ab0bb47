"""What a person sees while it runs: stage, step, rate, time left.

A live bar on a terminal; a line every few seconds elsewhere, so that logs of a batch job
stay readable. Everything goes to standard error.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 15.0


class Stage:
    """One stage of a job; call it with the number of steps done."""

    def __init__(self, name: str, total: int, bar: Progress | None):
        self._name, self._total, self._bar = name, total, bar
        self._begun = self._reached = self._said = time.monotonic()
        self._first: int | None = None
        if bar is not None:
            self._task = bar.add_task(name, total=total, rate="", note="")

    def __call__(self, done: int, note: str = "", total: int | None = None) -> None:
        if self._first is None:  # a resumed run does not begin at 0
            self._first, self._done, self._begun = done, done, time.monotonic()
        self._total = total or self._total
        now = time.monotonic()
        if done > self._done:
            self._done, self._reached = done, now
        # The mean of finished steps; 0, which is not shown, before the first.
        finished = self._done - self._first
        rate = finished / max(self._reached - self._begun, 1e-9) if finished else 0.0
        rate_text = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
        if self._bar is not None:
            self._bar.update(
                self._task,
                completed=done,
                total=self._total,
                rate=rate_text if rate else "",
                note=note,
            )
        elif now - self._said > SECONDS_BETWEEN_LINES:
            self._said = now
            parts = [f"{self._name}: {done}/{self._total}"]
            if rate:
                left = (self._total - done) / rate
                parts += [rate_text, f"{left:.0f} s left"]
            if note:
                parts.append(note)
            console.print(", ".join(parts), highlight=False)


console = Console(stderr=True)


@contextlib.contextmanager
def stage(name: str, total: int) -> Iterator[Stage]:
    """Shows one stage; says at its end how long it took.

    A KeyboardInterrupt gets the stage's name as a note, for the command line.
    """
    try:
        with _shown(name, total) as shown:
            yield shown
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(name)
        raise


@contextlib.contextmanager
def _shown(name: str, total: int) -> Iterator[Stage]:
    begun = time.monotonic()
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            yield Stage(name, total, bar)
    else:
        yield Stage(name, total, None)
    console.print(f"{name}: done in {time.monotonic() - begun:.0f} s", highlight=False)


class _ConsoleHandler(logging.Handler):
    """Log lines on the console, above a live bar if there is one.

    Of libraries what the root logger lets through, in Python's own form.
    """

    def __init__(self, reword: Callable[[str], str]):
        super().__init__()
        self._reword = reword
        self.setFormatter(logging.Formatter(logging.BASIC_FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        ours = record.name.partition(".")[0] == "pathjax"
        line = (
            f"pathjax: {self._reword(record.getMessage())}"
            if ours
            else self.format(record)
        )
        console.print(
            line,
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def show_log(reword: Callable[[str], str] = str) -> None:
    """Shows what pathjax logs, from INFO on, on standard error; for the command line.

    The handler is the root logger's: Orbax gives it one otherwise, when it is imported,
    and each line would be there twice.
    """
    root = logging.getLogger()
    if not any(isinstance(one, _ConsoleHandler) for one in root.handlers):
        root.addHandler(_ConsoleHandler(reword))
        logging.getLogger("pathjax").setLevel(logging.INFO)
