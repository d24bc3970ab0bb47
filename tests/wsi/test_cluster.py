"""Slides on one process and on Dask's: order, surprises, dead workers, no scheduler."""

import contextlib

import pytest
from extras import need
from slide_work import note

from pathjax.wsi import cluster
from pathjax.wsi.cluster import run_slides
from pathjax.wsi.manifest import SlideRow

dask = need("dask")
# Its defaults have to be there before they are changed.
distributed = need("distributed")


def rows(*names):
    return [SlideRow(name, name, name, "x", f"/{name}.svs") for name in names]


def test_one_process_reports_in_order_and_shows_progress():
    said = []
    found = run_slides(
        rows("b", "a", "bug", "c"),
        note,
        workers=1,
        progress=lambda *words: said.append(words),
    )
    assert [one.slide_id for one in found] == ["b", "a", "bug", "c"]
    assert [one.status for one in found] == ["tiled", "tiled", "skipped", "tiled"]
    assert found[2].reason == "unexpected ZeroDivisionError: by zero"
    assert said[-1] == (4, 4, "3 tiles, 1 slides skipped") and len(said) == 4


def test_what_is_true_of_all_slides_ends_the_run():
    said = []
    with pytest.raises(OSError, match="No space left"):
        run_slides(
            rows("a", "full", "b"),
            note,
            workers=1,
            progress=lambda done, *_: said.append(done),
        )
    assert said == [1]


def test_workers_are_counted_from_one():
    with pytest.raises(ValueError, match="workers: expected 1 or more, got 0"):
        run_slides(rows("a"), note, workers=0)


def test_no_scheduler_is_a_named_error():
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        for address in ("tcp://127.0.0.1:9", "nonsense://x"):
            with pytest.raises(RuntimeError, match=f"answers at {address}.*dask sched"):
                run_slides(rows("a"), note, scheduler=address)


def test_a_report_that_is_lost_with_its_worker_is_made_again(monkeypatch):
    """As when a worker dies of its next slide before the last one's report is fetched."""
    lost = iter([distributed.scheduler.KilledWorker("tile-1", None, 1)])

    class Finished:
        status = "finished"

        def __init__(self, row):
            self.row = row

        def result(self):
            for error in lost:
                raise error
            return note(self.row)

    monkeypatch.setattr(cluster, "_client", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(
        cluster, "_submit", lambda *given: ((row, Finished(row)) for row in given[-1])
    )
    found = run_slides(rows("a", "b"), note, workers=2)
    assert [(one.slide_id, one.status) for one in found] == [
        ("a", "tiled"),
        ("b", "tiled"),
    ]


@pytest.mark.slow
def test_workers_that_die_of_a_slide_take_no_other_with_them():
    """Two slides make the process crash natively, one raises; all others are done."""
    names = [f"s-{k}" for k in range(8)]
    names[2], names[5], names[6] = "crash-1", "bug-1", "crash-2"
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        found = run_slides(rows(*names), note, workers=2)
    assert [one.slide_id for one in found] == names
    for one in found:
        kind = one.slide_id.split("-")[0]
        assert one.status == ("tiled" if kind == "s" else "skipped"), one
        if kind == "crash":
            assert one.reason.startswith("2 workers died of it, twice over")
    with pytest.raises(OSError, match="No space left"):
        run_slides(rows("a", "full"), note, workers=2)
