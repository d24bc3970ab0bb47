"""What the figure of a sweep shows."""

import numpy as np
from PIL import Image

from pathjax.report.table_data import Column, Estimate, Row, Table
from pathjax.sweep.figure import _axis, draw_sweep
from pathjax.sweep.grid import parse_grid


def test_axes():
    assert _axis(["1e-5", "1e-3"]) == ({"1e-5": 1e-5, "1e-3": 1e-3}, True)
    assert _axis(["2", "8"]) == ({"2": 2.0, "8": 8.0}, False)
    assert _axis(["lora", "full"]) == ({"lora": 0.0, "full": 1.0}, False)


def test_a_panel_per_task_and_missing_points_leave_gaps(tmp_path):
    points = parse_grid(["optim.lr=1e-4,1e-3", "adapt.rank=2,8"])
    rows = [Row("base", None, True, {"a": Estimate(0.3), "b": Estimate(0.4)}, {})]
    rows += [
        Row(point.name, "base", False, {"a": Estimate(0.5, 0.4, 0.6)}, {})
        for point in points[1:]
    ]
    for tasks in (("a",), ("a", "b")):
        table = Table(tuple(Column(task, "accuracy") for task in tasks), tuple(rows))
        draw_sweep(table, points, tmp_path / f"{len(tasks)}.png")
    one, two = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in (1, 2))
    assert two.shape[1] > 1.7 * one.shape[1]
    assert len(np.unique(one.reshape(-1, one.shape[2]), axis=0)) > 20
