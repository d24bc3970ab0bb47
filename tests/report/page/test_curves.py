"""Learning curves: which runs are found, and what is left of long ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from pathjax.report.page.curves import (
    POINTS,
    checkpoint_folder,
    read_curves,
    thinned,
    training_runs,
)


def write(folder, values):
    folder.mkdir(parents=True)
    lines = [json.dumps({"step": n, "time": 0.0, "loss": v}) for n, v in values]
    (folder / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("/a/run/model.safetensors sha256:00", Path("/a/run")),
        ("runs/b c", Path("runs/b c")),
        (None, None),
    ],
)
def test_the_folder_of_a_checkpoint(text, folder):
    assert checkpoint_folder(text) == folder


def test_runs_inside_and_those_that_models_came_from(tmp_path):
    write(tmp_path / "out" / "tuned-0", [(1, 0.5)])
    write(tmp_path / "elsewhere" / "tuned-1", [(1, 0.5)])
    names = ["out/tuned-0", "elsewhere/tuned-1", "elsewhere/tuned-1", "gone"]
    entries = [
        {"checkpoint": f"{tmp_path / name}/model.safetensors sha256:0"}
        for name in names
    ]
    got = training_runs([tmp_path / "out"], entries)
    assert got == {
        "tuned-0": tmp_path / "out" / "tuned-0",
        "tuned-1": tmp_path / "elsewhere" / "tuned-1",
    }


def test_long_series_keep_their_ends(tmp_path):
    values = np.arange(10 * POINTS)
    kept = thinned(values)
    assert len(kept) == POINTS and kept[0] == 0 and kept[-1] == values[-1]
    assert np.diff(kept).max() - np.diff(kept).min() <= 1
    write(tmp_path / "run", [(n, 1 / (n + 1)) for n in range(1000)])
    (run,) = read_curves({"run": tmp_path / "run"})
    assert set(run["series"]) == {"loss"}
    steps, losses = run["series"]["loss"]
    np.testing.assert_allclose(losses, 1 / (np.array(steps) + 1), rtol=1e-3)


def test_a_run_that_logged_nothing(tmp_path):
    write(tmp_path / "run", [])
    assert read_curves({"run": tmp_path / "run"}) == []
