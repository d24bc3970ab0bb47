"""What a batch job's log shows: stage, step, rate, time left, once in a while."""

import io
import logging

from rich.console import Console

from pathjax import progress


def test_lines_away_from_a_terminal(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=text, width=200))
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.stage("train", 100) as bar:
        bar(20)  # a resumed run does not begin at 0
        now[0] = 10.0
        bar(30)  # too soon for a line
        now[0] = 20.0
        bar(40, "val/loss 1.5")
    lines = text.getvalue().splitlines()
    assert lines[0] == "train: 40/100, 1.0/s, 60 s left, val/loss 1.5"
    assert lines[1].startswith("train: done in")


def test_a_bar_on_a_terminal(monkeypatch):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    monkeypatch.setattr(progress, "console", console)
    with progress.stage("embed", 10) as bar:
        bar(5, "tile 5")
        bar(10, total=10)
    assert "embed" in text.getvalue() and "10/10" in text.getvalue()


def test_no_rate_before_the_first_step_and_the_mean_after(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=text, width=200))
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.stage("probes", 3) as bar:
        for seconds, done in ((0, 0), (16, 0), (30, 1), (47, 1), (90, 2)):
            now[0] = float(seconds)
            bar(done, "a")
    assert text.getvalue().splitlines()[:4] == [
        "probes: 0/3, a",
        "probes: 1/3, 2.0/min, 60 s left, a",  # at 47 s; the second step has begun
        "probes: 2/3, 1.3/min, 45 s left, a",
        "probes: done in 90 s",
    ]


def test_a_log_line_is_shown_once_whatever_a_library_does(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=text, width=200))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    progress.show_log(str.upper)
    progress.show_log()  # a second command in this process
    logging.basicConfig()  # as Orbax does when it is imported
    logging.getLogger("pathjax.train").warning("slow %s", "disk")
    logging.getLogger("absl").warning("odd")
    logging.getLogger("absl").info("not shown")
    assert text.getvalue().splitlines() == ["pathjax: SLOW DISK", "WARNING:absl:odd"]
