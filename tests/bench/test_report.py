"""A result's numbers, its JSON, and its tables."""

import io
import json

import pytest
from rich.console import Console

from pathjax.bench import report
from pathjax.bench.options import Entry


class Stub:
    """A finished worker."""

    def __init__(self, label, peak_bytes, **info):
        self.entry = Entry(label, label, "module:Class", {})
        self.info = {"versions": {"lib": "1.0"}, "threads": 2, "note": "none", **info}
        self.peak_bytes, self.ready_seconds = peak_bytes, 1.5


def turn(seconds, cpu_seconds):
    return {"items": 16, "seconds": seconds, "cpu_seconds": cpu_seconds}


@pytest.fixture
def found():
    workers = {
        "pathjax": Stub("ours", 4e9, flops_per_image=20e9, flops_source="counted"),
        "torch": Stub("theirs", 2e9),
    }
    turns = {
        "pathjax": [turn(2.0, 4.0), turn(1.0, 2.0), turn(2.0, 4.0)],
        "torch": [turn(4.0, 8.0), turn(3.0, 6.0), turn(2.0, 4.0)],
    }
    matrix = {"jax": [400.0, 200.0, 300.0], "torch": [100.0, 100.0, 100.0]}
    before = {"processor": "P", "cores": 2, "memory_bytes": 2**33, "load": [1.0, 0, 0]}
    options = {"threads": 2, "study": "/home/me", "peer_python": "/home/me/python"}
    return report.result("step", options, workers, turns, matrix, before, {})


def test_numbers(found):
    ours, theirs = (found["contestants"][name] for name in ("pathjax", "torch"))
    assert ours["items_per_second"] == {
        "median": 8.0,
        "min": 8.0,
        "max": 16.0,
        "rounds": [8.0, 16.0, 8.0],
    }
    assert ours["items_per_cpu_second"]["median"] == 4.0
    # 8 images of 20 GFLOP a second on a machine whose best library does 300 GFLOP/s;
    # the peer is counted with the same work, 16/3 images a second.
    assert ours["share_of_matrix_rate"] == pytest.approx(160 / 300)
    assert theirs["share_of_matrix_rate"] == pytest.approx(20 * 16 / 3 / 300)
    assert found["ratios"] == [
        {"of": "pathjax", "to": "torch"}
        | {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": [2.0, 3.0, 1.0]}
    ]
    assert found["matrix_gflops"]["jax"]["median"] == 300.0


def test_json_holds_no_path_of_the_machine(found):
    text = json.dumps(found, allow_nan=False)
    assert "/home/me" not in text
    assert found["options"] == {"threads": 2}
    for key in ("schema", "when", "pathjax", "python", "machine", "load_after"):
        assert key in found


def test_tables(found):
    stream = io.StringIO()
    report.show(found, Console(file=stream, width=120))
    text = stream.getvalue()
    assert "2.00x (1.00 to 3.00)" in text
    assert "53%" in text and "4.00 GB" in text
    assert "matrix product, jax: 300 GFLOP/s (200 to 400)" in text
    assert "20.0 GFLOP per image: counted" in text
    assert "not idle before the run (load 1.0)" in text


def test_machine_is_described():
    place = report.machine()
    assert place["cores"] >= 1 and place["memory_bytes"] > 2**28
    assert len(place["load"]) == 3 and place["processor"]


def test_each_of_ours_is_compared_with_each_peer():
    names = {"pathjax": (), "bf16": (), "torch": ("torch",), "torch-bf16": ("torch",)}
    entries = {n: Entry(n, n, "m:C", {}, modules) for n, modules in names.items()}
    assert report.pairs(entries) == [
        ("pathjax", "bf16"),
        ("pathjax", "torch"),
        ("pathjax", "torch-bf16"),
        ("bf16", "torch"),
        ("bf16", "torch-bf16"),
    ]
