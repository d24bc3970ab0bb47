"""Tiles many slides, in this process or on Dask's workers: a report per row.

Dask `distributed` queues, retries and notices dead workers. The slide of a worker that
dies is tried again elsewhere, up to Dask's `distributed.scheduler.allowed-failures`
times, and is then reported as skipped; other slides are not affected.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pathjax.data.study import StudyError
from pathjax.optional_deps import need
from pathjax.parallel.preemption import quiet_start
from pathjax.wsi.manifest import SlideRow
from pathjax.wsi.tile import SlideReport

Work = Callable[[SlideRow], SlideReport]
Progress = Callable[[int, int, str], None]

# The study cannot be written, or a library is missing: true of every slide to come.
FATAL = (OSError, RuntimeError, StudyError)


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
      rows: The slides.
      work: Picklable; importable where the workers run.
      workers: Processes on this machine, by default one per core available; 1 works in
        this process, without Dask.
      scheduler: Address of a running Dask scheduler whose workers see the same paths.
      progress: Called with slides done, slides in all and a note, after each slide.

    Returns:
      A report per row, in the rows' order. An unexpected exception of one slide is the
      reason in its report.

    Raises:
      RuntimeError: The scheduler cannot be reached or went away.
      OSError, RuntimeError, StudyError: From the first work that raised one.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    if workers < 1:
        raise ValueError(f"workers: expected 1 or more, got {workers}")
    reports: dict[str, SlideReport] = {}
    if scheduler is None and workers == 1:
        results = ((row, _result(row, lambda row=row: work(row))) for row in rows)
    else:
        results = _on_dask(rows, work, workers, scheduler)
    tiles = skipped = 0
    with contextlib.closing(results):
        for row, report in results:
            reports[row.slide_id] = report
            tiles, skipped = tiles + report.tiles, skipped + (report.tiles == 0)
            if progress:
                note = f"{tiles} tiles, {skipped} slides skipped"
                progress(len(reports), len(rows), note)
    return [reports[row.slide_id] for row in rows]


def _result(row: SlideRow, get: Callable[[], SlideReport], *passed) -> SlideReport:
    """The report, or one that names what was raised instead, unless it is `passed` on."""
    try:
        return get()
    except (*FATAL, *passed):
        raise
    except Exception as error:  # noqa: BLE001  one slide must not end the others
        return _failed(row, f"unexpected {type(error).__name__}: {error}")


def _failed(row: SlideRow, reason: str) -> SlideReport:
    return SlideReport(
        row.slide_id, "skipped", reason, mpp=row.mpp, mpp_source=row.mpp_source
    )


def _on_dask(
    rows: Sequence[SlideRow], work: Work, workers: int, scheduler: str | None
) -> Iterator[tuple[SlideRow, SlideReport]]:
    """Rows with their reports, in the order of completion."""
    distributed = need("distributed", "wsi")
    killed = distributed.scheduler.KilledWorker
    with _client(distributed, workers, scheduler) as client:
        suspects = []
        # Each is asked for its report, whatever its status: a worker that dies before the
        # report is fetched takes it along, and Dask may then blame a slide that was done.
        for row, future in _submit(distributed, client, work, rows):
            try:
                report = _result(row, future.result, killed)
            except killed:
                suspects.append(row)
            else:
                yield row, report
        # Dask blames every slide that a dying worker had queued: retry each by itself.
        for row in suspects:
            for _, future in _submit(distributed, client, work, [row]):
                try:
                    report = _result(row, future.result, killed)
                except killed as error:
                    report = _failed(
                        row,
                        f"{error.allowed_failures + 1} workers died of it, twice over: "
                        "the file crashes the library that reads it, or needs more "
                        "memory than a worker has",
                    )
                yield row, report


def _submit(distributed, client, work: Work, rows: Sequence[SlideRow]) -> Iterator:
    """Rows with their futures as they end, successful or not."""
    # pure=False: the scheduler must not return a result remembered from another run.
    futures = client.map(work, rows, pure=False, key="tile")
    owner = dict(zip(futures, rows, strict=True))
    ended = distributed.as_completed(futures, loop=client.loop)
    del futures
    try:
        for future in ended:
            if future.cancelled() or client.status != "running":
                raise RuntimeError(
                    f"the scheduler at {client.scheduler.addr} went away: finished "
                    "slides are kept, run the same command again"
                )
            yield owner.pop(future), future
            # Or Dask would repeat the work if the worker that has the report dies.
            future.release()
    finally:
        if client.status == "running":
            client.cancel([*owner])


@contextlib.contextmanager
def _client(distributed, workers: int, scheduler: str | None) -> Iterator[Any]:
    """A client of the scheduler, or of a local cluster that ends with the block."""
    with contextlib.ExitStack() as stack:
        address = scheduler
        if scheduler is None:
            with quiet_start():  # Ctrl-C is for this process, which stops its workers
                cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    # Its server starts even so, at 8787 if no free port is asked for.
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    # Worker deaths are expected and end in a report.
                    silence_logs=logging.CRITICAL,
                )
                address = stack.enter_context(cluster)
        try:
            client = stack.enter_context(
                distributed.Client(address, set_as_default=False)
            )
        except (OSError, ValueError) as error:
            raise RuntimeError(
                f"no Dask scheduler answers at {scheduler} ({error}): start one with "
                "`dask scheduler`, or omit --scheduler for workers on this machine"
            ) from error
        yield client
