"""What the figure of a sweep shows."""

import numpy as np
from PIL import Image

from pathjax.report.table_data import Column, Estimate, Row, Table
from pathjax.sweep.figure import _axis, _means, draw_sweep
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
        draw_sweep(
            table, [points], {p.name: p for p in points}, tmp_path / f"{len(tasks)}.png"
        )
    one, two = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in (1, 2))
    assert two.shape[1] > 1.7 * one.shape[1]
    assert len(np.unique(one.reshape(-1, one.shape[2]), axis=0)) > 20


def test_several_grids_show_mean_deltas_and_share_runs(tmp_path):
    grids = [parse_grid(["optim.lr=1e-4,1e-3"]), parse_grid(["adapt.rank=2,8"])]
    centre, other = grids[0]
    runs = {centre.name: centre, other.name: other, grids[1][1].name: centre}
    runs[grids[1][0].name] = grids[1][0]  # failed: without a row
    columns = (
        Column("genes", "pearson", kind="expression"),
        Column("a", "accuracy"),
        Column("b", "accuracy"),
    )
    deltas = {"genes": Estimate(0.04), "a": Estimate(-0.01), "b": Estimate(0.03)}
    rows = [Row(point.name, "base", False, deltas, deltas) for point in grids[0]]
    gained, kept = _means(Table(columns, tuple(rows)))
    assert gained.values[centre.name][0] == 4.0
    assert np.isclose(kept.values[centre.name][0], 1.0)
    draw_sweep(Table(columns, tuple(rows)), grids, runs, tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as image:
        assert min(image.size) > 900  # two by two
