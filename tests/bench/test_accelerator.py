"""The end of memory, plan's estimates, bars and failures; the whole run is
tests/launch/test_gpu_smoke.py's, on a CPU."""

import jax
import pytest

from pathjax.bench import accelerator, accelerator_worker, run_bench
from pathjax.bench.options import BenchError
from pathjax.plan import PlanError, process

VALUES = {"study": "s", "image_px": 224, "batch": 64, "genes": 9, "threads": 1}
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes."


def test_a_sweep_ends_with_the_memory(monkeypatch):
    def measure(values):
        if values["batch"] > 128:
            raise jax.errors.JaxRuntimeError(OUT_OF_MEMORY)
        return {"batch": values["batch"]}

    monkeypatch.setattr(accelerator_worker, "measure", measure)
    found = accelerator_worker.Sweep(VALUES | {"most": 1024}).info
    assert found["batches"] == [{"batch": 64}, {"batch": 128}]
    assert found["ended"] == f"batch 256 exceeds the memory: {OUT_OF_MEMORY}"

    def broken(values):
        raise jax.errors.JaxRuntimeError("INTERNAL: no kernel image")

    monkeypatch.setattr(accelerator_worker, "measure", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="no kernel image"):
        accelerator_worker.Sweep(VALUES | {"most": 1024})


def model(train=(64, 128), embed=(64, 128), ended=""):
    def task(sizes):
        rows = [{"batch": size, "of_matrix": size / 256} for size in sizes]
        return {"batches": rows, "ended": ended}

    return {
        "variant": "L/16",
        "dtype": "bfloat16",
        "train": task(train),
        "embed": task(embed),
    }


@pytest.mark.parametrize(
    ("platform", "chip", "target"),
    [("gpu", "a100", "a100:1"), ("gpu", None, "h200:1"), ("tpu", "v5e", "v5e:1x1")]
    + [("cpu", None, "cpu:1")],
)
def test_plan_is_asked_for_the_largest_batch_that_trained(
    monkeypatch, platform, chip, target
):
    def make_plan(request):
        assert request["target"] == target
        assert request["overrides"]["data.batch"] == 128
        steps = [("train", 128, 7), ("embedding", 64, 5)]
        return {
            "basis": "estimate",
            "steps": [
                {"name": n, "samples": s, "memory": {"peak": p}} for n, s, p in steps
            ],
        }

    monkeypatch.setattr(process, "make_plan", make_plan)
    one = model()
    accelerator.add_plan(one, VALUES, {"chip": chip, "platform": platform})
    peaks = [
        [row.get("plan_bytes") for row in one[task]["batches"]]
        for task in ("train", "embed")
    ]
    assert peaks == [[None, 7], [5, None]] and one["plan"] == "estimate"


def test_a_plan_that_refuses_what_ran_is_still_compared(monkeypatch):
    refusal = {"step": "train", "overflow": {"needed": 9}}
    monkeypatch.setattr(
        process, "make_plan", lambda _: {"basis": "b", "does_not_fit": refusal}
    )
    one, device = model(), {"chip": "h100", "platform": "gpu"}
    accelerator.add_plan(one, VALUES, device)
    assert one["train"]["batches"][-1]["plan_bytes"] == 9

    def refuse(_):
        raise PlanError("no compiler")

    monkeypatch.setattr(process, "make_plan", refuse)
    accelerator.add_plan(one, VALUES, device)
    assert one["plan"] == "not compared: no compiler"
    nothing = model(train=())
    accelerator.add_plan(nothing, VALUES, device)
    assert nothing["plan"] == "not compared: no batch trained"


def test_bars_take_the_best_batch():
    found = accelerator.bar_of([model()], "L/16", "bfloat16", "train", 0.5)
    assert found == {"what": "ViT-L/16 bfloat16, train", "least": 0.5, "best": 0.5}
    assert (
        accelerator.bar_of([model()], "S/16", "bfloat16", "train", 0.5)["best"] is None
    )


def test_failures_are_checks_and_tasks_that_broke_but_not_the_end_of_memory():
    def result(state, **changes):
        check = {"what": "encoder", "arithmetic": "bfloat16", "state": state}
        return {"device": {"numerics": [check]}, "models": [model(**changes)]}

    assert accelerator.failures(result("passed")) == []
    assert accelerator.failures(result("failed")) == ["encoder in bfloat16"]
    ended = "batch 64 exceeds the memory: Out of memory"
    assert accelerator.failures(result("skipped", train=(), ended=ended)) == []
    assert accelerator.failures(result("passed", embed=(), ended="status 1")) == [
        "ViT-L/16 bfloat16, embed"
    ]


def test_the_command_writes_json_and_page_before_it_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(accelerator, "run", lambda options: {"genes": options.genes})
    monkeypatch.setattr(accelerator, "page", lambda result: "# page")
    monkeypatch.setattr(accelerator, "failures", lambda result: ["encoder"])
    out = tmp_path / "a.json"
    with pytest.raises(BenchError, match="1 failed: encoder"):
        run_bench("accelerator", False, out, ["--config.genes=7"])
    assert '"genes": 7' in out.read_text()
    assert out.with_suffix(".md").read_text() == "# page\n"
    with pytest.raises(BenchError, match="no peers"):
        run_bench("accelerator", True, None, [])


def test_the_reference_is_beside_the_device():
    beside = accelerator._with_cpu
    assert beside({"JAX_PLATFORMS": "cuda"}) == {"JAX_PLATFORMS": "cuda,cpu"}
    assert beside({"JAX_PLATFORMS": "cpu"}) == beside({}) == {}
