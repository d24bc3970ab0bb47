"""The page says what was measured, what was not, and which bars are met."""

import copy

from pathjax.bench.accelerator_page import page

ROW = {
    "batch": 64,
    "images_per_s": 1234.0,
    "images_per_s_alone": 1500.0,
    "of_matrix": 0.52,
    "mfu": 0.41,
    "data_wait": 0.07,
    "peak_bytes": 3 << 30,
    "plan_bytes": 2 << 30,
    "cores_needed": 2.5,
}
CHECK = {"what": "encoder", "tolerance": 0.05, "note": ""}
RESULT = {
    "when": "2026-01-01T00:00:00Z",
    "driver": "570.1",
    "machine": {"processor": "Some CPU", "cores": 16},
    "options": {"matrix": 8192, "image_px": 224, "count": 20, "threads": 16},
    "loader": {"images_per_s": 9000.0, "per_core": 600.0},
    "device": {
        "device": "NVIDIA H200",
        "devices": 8,
        "chip": "h200",
        "runtime": "cuda 12090",
        "bytes_limit": 100 << 30,
        "versions": {"jax": "0.10.2"},
        "matrix_gflops": {"bfloat16": 700_000.0},
        "numerics": [
            CHECK | {"arithmetic": "float32", "state": "failed", "error": 0.2},
            CHECK
            | {
                "arithmetic": "bfloat16",
                "state": "skipped",
                "error": None,
                "note": "no",
            },
        ],
    },
    "models": [
        {
            "variant": "L/16",
            "dtype": "bfloat16",
            "plan": "estimate",
            "train": {"batches": [ROW], "ended": "batch 128 exceeds the memory: x\ny"},
            "embed": {"batches": [], "ended": ""},
        }
    ],
    "bars": [
        {"what": "training", "least": 0.5, "best": 0.52},
        {"what": "embedding", "least": 0.6, "best": 0.1},
        {"what": "other", "least": 0.6, "best": None},
    ],
}


def test_page():
    lines = page(RESULT).splitlines()
    assert "| encoder | 2.0e-01 **failed** | skipped |" in lines
    assert (
        "| ViT-L/16 bfloat16, train | 64 | 1234 | 1500 | 52% | 41% | 7% | 3.00 | 2.00 "
        "| 1.50 | 2.5 |" in lines
    )
    assert "- ViT-L/16 bfloat16, train: batch 128 exceeds the memory: x y" in lines
    bars = [line.rpartition("rate, ")[2] for line in lines if "the bar is" in line]
    assert bars == ["reached 52%: met", "reached 10%: **not met**", "**not measured**"]
    assert "- encoder: no" in lines and not any("memory_stats" in x for x in lines)


def test_what_a_device_does_not_report_is_named():
    result = copy.deepcopy(RESULT)
    result["device"] |= {"bytes_limit": None, "chip": None}
    row = result["models"][0]["train"]["batches"][0]
    row |= {"peak_bytes": None, "mfu": None}
    del row["plan_bytes"]
    text = page(result)
    assert "reports no memory_stats" in text and "no data sheet's peak" in text
    assert "| 52% |  | 7% |  |  |  | 2.5 |" in text


def test_each_table_has_as_many_cells_in_every_row():
    for block in page(RESULT).split("\n\n"):
        counts = {line.count("|") for line in block.splitlines() if "|" in line}
        assert len(counts) <= 1
