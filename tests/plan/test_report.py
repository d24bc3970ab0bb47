"""Hours, cost and tables of a plan."""

import io

import pytest
from rich.console import Console

from pathjax.plan.report import add_cost, show

CHIP = {
    "name": "v5e",
    "title": "TPU v5e",
    "memory": 15.75 * 2**30,
    "source": "https://docs.example.org/v5e",
}
COLLECTIVE = {
    "kind": "all-gather",
    "name": "all-gather.1",
    "source": "jit(train_step)/jvp(ViT)/blocks/mlp/fc1/dot_general",
    "group": 8,
    "repeats": 24,
    "size": 3 << 30,
    "moved_bytes": 5 << 30,
}
STEP = {
    "name": "train",
    "devices": 16,
    "samples": 512,
    "images": 4096,
    "memory": {
        "arguments": 3 << 30,
        "kinds": {"parameters": 1 << 30, "frozen": 0, "optimiser": 2 << 30},
        "outputs": 3 << 30,
        "aliased": 3 << 30,
        "temporaries": 4 << 30,
        "code": 1 << 20,
        "peak": (7 << 30) + (1 << 20),
    },
    "flops": 4e15,
    "model_flops": 3e15,
    "exact": True,
    "accessed": 100 << 30,
    "collectives": [COLLECTIVE],
    "bound": {
        "compute": 1.25,
        "memory": 0.5,
        "links": 0.025,
        "seconds": 1.25,
        "limited_by": "compute",
        "mfu": 0.75,
    },
}
FOUND = {
    "target": "v5e:4x4",
    "chips": 16,
    "devices": 16,
    "chip": CHIP,
    "basis": "compiled by libtpu",
    "versions": {"jax": "1.2.3"},
    "config": {"name": "big", "optim": {"steps": 7200}, "data": {"batch": 512}},
    "train_samples": 4096,
    "steps": [STEP],
}


def printed(found) -> str:
    out = io.StringIO()
    show(found, Console(file=out, width=120))
    return " ".join(out.getvalue().split())


def test_hours_chip_hours_and_cost():
    run = add_cost(FOUND, price=2.0, mfu=0.5)["run"]
    assert run["epochs"] == 7200 * 512 / 4096
    least, likely = run["at the bound"], run["at 50% MFU"]
    assert least["hours"] == 7200 * 1.25 / 3600
    assert least["chip_hours"] == least["hours"] * 16
    assert least["cost"] == least["chip_hours"] * 2.0
    assert least["images_per_second"] == 4096 / 1.25
    assert likely["seconds_per_step"] == pytest.approx(1.25 * 0.75 / 0.5)
    assert "cost" not in add_cost(FOUND, None, 0.5)["run"]["at the bound"]
    # Utilisation above the bound cannot be had.
    assert set(add_cost(FOUND, None, 0.8)["run"]) == {"steps", "epochs", "at the bound"}


def test_what_is_printed():
    text = printed(add_cost(FOUND, 2.0, 0.5))
    for words in (
        "big on v5e:4x4: 16 chips, TPU v5e (jax 1.2.3)",
        "temporaries │ 4.00 GiB",
        "of 15.75 GiB │ 44%",
        "TFLOPs executed",
        "all-gather",
        "mlp/fc1/dot_general",
        "MFU at most",
        "75.0%",
        "The run: 7,200 steps, 900 epochs",
        "overlap perfectly",
    ):
        assert words in text, (words, text)
    assert "frozen" not in text  # there is nothing of it
    assert "counted once" not in text
    loose = FOUND | {"steps": [STEP | {"exact": False}]}
    assert "counted once" in printed(loose)


def test_a_job_that_does_not_fit():
    refused = {
        "step": "train",
        "overflow": {
            "needed": 20 << 30,
            "limit": 15 << 30,
            "buffers": [],
            "message": "temporaries (20G) exceed 15G",
        },
        "arguments": [[1 << 30, "parameters vit/blocks/mlp/fc1/kernel"]],
        "values": [[9 << 30, "bfloat16[512, 197, 1024] jvp(ViT)"]],
        "remedies": [
            {
                "flags": ["--config.model.remat=true"],
                "fits": True,
                "peak": 5 << 30,
                "note": "each block is computed twice",
            }
        ],
    }
    found = {k: v for k, v in FOUND.items() if k != "steps"}
    text = printed(found | {"does_not_fit": refused})
    assert "DOES NOT FIT: the train step. temporaries (20G) exceed 15G" in text
    assert "1.00 GiB parameters vit/blocks/mlp/fc1/kernel" in text
    assert "9.00 GiB bfloat16[512, 197, 1024] jvp(ViT)" in text
    assert "fits (5.00 GiB): --config.model.remat=true" in text
