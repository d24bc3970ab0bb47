"""Many slides, here or on Dask's workers: rows -> a report each, in the rows' order.

Dask `distributed` queues, retries and notices dead workers; nothing of that is ours.
A worker that dies takes down no other: its slide is tried again elsewhere, at most as
often as Dask's `distributed.scheduler.allowed-failures` says, and is then reported as
skipped. One process without Dask where one worker is asked for.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pathjax.data.study import StudyError
from pathjax.optional_deps import need
from pathjax.wsi.manifest import SlideRow
from pathjax.wsi.tile import SlideReport

Work = Callable[[SlideRow], SlideReport]
Progress = Callable[[int, int, str], None]

# The study cannot be written, or a library is missing: true of every slide to come.
FATAL = (OSError, RuntimeError, StudyError)


class ClusterError(RuntimeError):
    """The scheduler cannot be reached or went away; finished slides are kept."""


def run_slides(
    rows: Sequence[SlideRow],
    work: Work,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> list[SlideReport]:
    """Does `work` on each row.

    Args:
      rows: the slides.
      work: picklable; importable where the workers run.
      workers: processes on this machine; the cores that this process may use if None,
        1 works in this process.
      scheduler: address of a running Dask scheduler, whose workers see the same paths.
      progress: called with slides done, slides in all and a note, after each slide.

    Returns:
      A report per row, in their order. What a slide's work raised unexpectedly is the
      reason in its report.

    Raises:
      ClusterError: the scheduler cannot be reached, or went away.
      OSError, RuntimeError, StudyError: of the first work that raised one.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    if workers < 1:
        raise ValueError(f"workers is {workers}, wanted 1 or more")
    reports: dict[str, SlideReport] = {}
    if scheduler is None and workers == 1:
        found = ((row, _result(row, lambda row=row: work(row))) for row in rows)
    else:
        found = _on_dask(rows, work, workers, scheduler)
    tiles = skipped = 0
    with contextlib.closing(found):
        for row, report in found:
            reports[row.slide_id] = report
            tiles, skipped = tiles + report.tiles, skipped + (report.tiles == 0)
            if progress:
                note = f"{tiles} tiles, {skipped} slides skipped"
                progress(len(reports), len(rows), note)
    return [reports[row.slide_id] for row in rows]


def _result(row: SlideRow, get: Callable[[], SlideReport]) -> SlideReport:
    """The report, or one that says what was raised instead."""
    try:
        return get()
    except FATAL:
        raise
    except Exception as error:  # noqa: BLE001  one slide's surprise is not all others'
        return _failed(row, f"unexpected {type(error).__name__}: {error}")


def _failed(row: SlideRow, reason: str) -> SlideReport:
    return SlideReport(
        row.slide_id, "skipped", reason, mpp=row.mpp, mpp_source=row.mpp_source
    )


def _on_dask(
    rows: Sequence[SlideRow], work: Work, workers: int, scheduler: str | None
) -> Iterator[tuple[SlideRow, SlideReport]]:
    """Rows with their reports as they come."""
    distributed = need("distributed", "wsi")
    with _client(distributed, workers, scheduler) as client:
        doomed = []
        for row, future in _submit(distributed, client, work, rows):
            if isinstance(_error(future), distributed.scheduler.KilledWorker):
                doomed.append(row)
            else:
                yield row, _result(row, future.result)
        # Dask blames all that a dying worker had in hand. Alone, only the guilty die.
        for row in doomed:
            for _, future in _submit(distributed, client, work, [row]):
                error = _error(future)
                if isinstance(error, distributed.scheduler.KilledWorker):
                    times = error.allowed_failures + 1
                    reason = (
                        f"{times} workers died of it, twice over: the file makes the "
                        "library that reads it crash, or needs more memory than a "
                        "worker has"
                    )
                    yield row, _failed(row, reason)
                else:
                    yield row, _result(row, future.result)


def _submit(distributed, client, work: Work, rows: Sequence[SlideRow]) -> Iterator:
    """Rows with their futures as they end, well or badly."""
    # pure=False: a call's result is not remembered by the scheduler from another run.
    futures = client.map(work, rows, pure=False, key="tile")
    owner = dict(zip(futures, rows, strict=True))
    ended = distributed.as_completed(futures, loop=client.loop)
    del futures
    try:
        for future in ended:
            if future.cancelled() or client.status != "running":
                raise _gone(client)
            yield owner.pop(future), future
            # Or Dask would do it again if the worker that has the report dies.
            future.release()
    finally:
        if client.status == "running":
            client.cancel([*owner])


def _error(future) -> BaseException | None:
    return future.exception() if future.status == "error" else None


def _gone(client) -> ClusterError:
    return ClusterError(
        f"the scheduler at {client.scheduler.addr} went away: finished slides are kept, "
        "run the same command again"
    )


@contextlib.contextmanager
def _client(distributed, workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of a scheduler that runs, or of a cluster that ends with the block."""
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            address = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    # Worker deaths are expected and end in a report.
                    silence_logs=logging.CRITICAL,
                )
            )
        else:
            address = scheduler
        try:
            client = stack.enter_context(
                distributed.Client(address, set_as_default=False)
            )
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {scheduler} ({error}): start one with "
                "`dask scheduler`, or leave --scheduler for workers on this machine"
            ) from error
        yield client
