"""Metrics on disk: resumable, cut lines forgiven, NaN written as null."""

import json

import pytest

from pathjax.train.telemetry.metric_writer import MetricWriter, read_metrics


def test_lines_past_the_checkpoint_are_dropped_on_resume(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        for step in (10, 20, 30):
            writer.write(step, {"train/loss": step / 2})
    with MetricWriter(tmp_path, 20) as writer:
        writer.write(30, {"train/loss": -1.0})
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(r["step"], r["train/loss"]) for r in rows] == [
        (10, 5.0),
        (20, 10.0),
        (30, -1.0),
    ]


def test_a_validation_that_is_done_again_leaves_one_line(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        for step in (10, 20):
            writer.write(step, {"train/loss": step / 2})
            writer.write(step, {"val/loss": step / 4})
    with MetricWriter(tmp_path, 20, validated=False):
        pass
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(r["step"], "val/loss" in r) for r in rows] == [
        (10, False),
        (10, True),
        (20, False),
    ]


def test_a_line_cut_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 2.0}\n{"step": 2, "a"')
    assert read_metrics(path) == [{"step": 1, "a": 2.0}]
    with MetricWriter(tmp_path, 5) as writer:
        writer.write(6, {"a": 1.0})
    assert [row["step"] for row in read_metrics(path)] == [1, 6]


def test_nan_is_null(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {"a": float("nan"), "b": float("inf"), "c": 1.0})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert row["a"] is None and row["b"] is None and row["c"] == 1.0


def test_other_processes_write_nothing(tmp_path):
    with MetricWriter(tmp_path, 0, active=False) as writer:
        writer.write(1, {"a": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_the_file(tmp_path):
    writer = MetricWriter(tmp_path, 0)
    writer._file.close()
    writer._file = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115
    with pytest.raises(OSError, match=r"No space left.*metrics\.jsonl"), writer:
        writer.write(1, {"a": 1.0})
