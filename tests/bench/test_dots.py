"""The table of products: its structure and its counts, never its times."""

import json

import pytest

from pathjax.bench import dots

TINY = dots.Size(batch=2, tokens=5, width=16, features=24, heads=2)


@pytest.fixture(scope="module")
def found():
    return dots.measure(TINY, seconds=0, rounds=1)


def test_a_row_for_each_case_and_dtype(found):
    names = [case.name for case in dots.cases(TINY)]
    rows = [(row["case"], row["dtype"]) for row in found["rows"]]
    assert rows == [(name, dtype) for name in names for dtype in dots.DTYPES]
    assert all(row["gflops"] > 0 and row["runs"] >= 1 for row in found["rows"])


def test_operations_by_hand():
    flops = {case.name: case.flops for case in dots.cases(TINY)}
    assert flops["x W"] == flops["dW of dense"] == 2 * 10 * 16 * 24
    assert flops["weights^T dy"] == 2 * 2 * 2 * 5 * 5 * 8
    assert flops["db of dense"] == 10 * 24


def test_the_program_is_described():
    converted = """
      %convert.1 = f32[8,4]{1,0} convert(%param.0)
      ROOT %dot.1 = f32[8,8]{1,0} dot(%convert.1, %convert.2), lhs_contracting_dims={0}
    """
    assert dots.describe(converted) == "f32"
    library = """
      %param_0 = bf16[4,8]{1,0} parameter(0)
      ROOT %dot.1 = f32[4,8]{1,0} dot(%param_0, %param_1), lhs_contracting_dims={1}
      ROOT %f = f32[4,8] fusion(%a), backend_config={"kind":"__ynn_fusion"}
    """
    assert dots.describe(library) == "bf16 library"
    assert dots.describe("ROOT %add = f32[4] add(%a, %b)") == ""


def test_the_command_prints_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATHJAX_ALLOCATOR", "0")  # this process is pytest's
    sizes = ["--batch=1", "--tokens=3", "--width=8", "--features=8", "--heads=2"]
    out = tmp_path / "dots.json"
    dots.main([*sizes, "--seconds=0", "--rounds=1", f"--json={out}"])
    written = json.loads(out.read_text())
    assert written["size"]["tokens"] == 3
    assert "| dW of dense |" in capsys.readouterr().out
