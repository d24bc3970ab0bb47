"""Options, choice and turns of contestants, worker processes, and the command."""

import json
import os
import sys
import textwrap

import pytest

from pathjax.bench import forward, loader, probe, run_bench, step, tile
from pathjax.bench.options import BenchError, Entry, parse_options
from pathjax.bench.report import paired_ratio, rates
from pathjax.bench.runner import Worker, choose, require_modules, take_turns
from pathjax.bench.worker import jax_matrix


class Fake:
    """Takes the given seconds, and records when it was asked."""

    def __init__(self, name, seconds, log, gflops=None):
        self.name, self.seconds, self.log = name, iter(seconds), log
        self.gflops = gflops or {}

    def ask(self, do, count=0):
        self.log.append((self.name, do))
        if do == "matrix":
            return {"gflops": self.gflops}
        seconds = next(self.seconds)
        return {"items": 8 * count, "seconds": seconds, "cpu_seconds": 2 * seconds}


def test_turns_alternate_and_a_round_ends_with_the_matrix():
    log, seen = [], []
    workers = {
        "a": Fake("a", [1.0, 2.0], log, {"jax": 400.0}),
        "b": Fake("b", [2.0, 4.0], log, {"torch": 200.0, "numpy": 220.0}),
    }
    turns, matrix = take_turns(workers, 2, 3, lambda *given: seen.append(given))
    one = [("a", "run"), ("b", "run"), ("a", "matrix"), ("b", "matrix")]
    assert log == one * 2
    assert rates(turns["a"]) == [24.0, 12.0]
    assert rates(turns["b"]) == [12.0, 6.0]
    assert rates(turns["b"], "cpu_seconds") == [6.0, 3.0]
    assert matrix == {"jax": [400.0] * 2, "torch": [200.0] * 2, "numpy": [220.0] * 2}
    assert seen[-1] == (2, "")


def test_a_drifting_machine_does_not_change_the_ratio():
    # Halved in the second round, a fifth in the third: the ratio of medians is 1.5 too,
    # but only pairs have no spread.
    ours, theirs = [30.0, 15.0, 6.0], [20.0, 10.0, 4.0]
    assert paired_ratio(ours, theirs) == {
        "median": 1.5,
        "min": 1.5,
        "max": 1.5,
        "rounds": [1.5, 1.5, 1.5],
    }


def test_ratio_is_the_median_of_pairs_not_the_ratio_of_medians():
    found = paired_ratio([10.0, 40.0, 30.0], [10.0, 20.0, 60.0])
    assert found["rounds"] == [1.0, 2.0, 0.5]
    assert (found["median"], found["min"], found["max"]) == (1.0, 0.5, 2.0)
    with pytest.raises(ValueError):
        paired_ratio([1.0], [1.0, 2.0])


@pytest.fixture
def worker(tmp_path):
    """Starts a worker whose contestant is written in the test."""

    def start(body):
        (tmp_path / "guest.py").write_text(
            "from pathjax.bench.worker import Contestant\n"
            "class Guest(Contestant):\n"
            "    info = {'note': 'hello'}\n"
            "    def __init__(self, options): print('noise')\n"
            "    def matrix(self): return {'guest': 1.0}\n"
            + textwrap.indent(textwrap.dedent(body), "    ")
        )
        entry = Entry("guest", "Guest", "guest:Guest", {"threads": 1})
        return Worker(entry, sys.executable, os.environ | {"PYTHONPATH": str(tmp_path)})

    return start


def test_a_worker_answers_through_its_noise(worker):
    with worker(
        "def run(self, count):\n    print('more')\n    return 5 * count"
    ) as one:
        one.start()
        assert one.info == {"note": "hello"}
        answer = one.ask("run", count=3)
        assert answer["items"] == 15
        assert answer["seconds"] > 0 and answer["cpu_seconds"] >= 0
        assert one.ask("matrix")["gflops"] == {"guest": 1.0}
        assert one.peak_bytes > 1_000_000


def test_the_last_output_of_a_dead_worker_is_shown(worker):
    with worker("def run(self, count): raise RuntimeError('no paper')") as one:
        one.start()
        with pytest.raises(BenchError, match="guest ended with status 1(.|\n)*paper"):
            one.ask("run", count=1)


def test_a_contestant_may_time_a_part_of_its_turn(worker):
    with worker("def run(self, count): return 6 * count, 2.0") as one:
        one.start()
        answer = one.ask("run", count=1)
        assert (answer["items"], answer["seconds"]) == (6, 2.0)


def test_a_missing_peer_is_named_with_how_to_install_it():
    peer = Entry("x", "X", "m:C", {}, modules=("json",))
    require_modules(peer, sys.executable)
    peer = Entry("x", "X", "m:C", {}, modules=("json", "no_such_peer"))
    with pytest.raises(BenchError) as caught:
        require_modules(peer, sys.executable)
    text = str(caught.value)
    assert "found no no_such_peer" in text and "json" not in text
    assert "pip install 'pathjax[peers]'" in text and "peer_python" in text


@pytest.mark.parametrize("bench", [step, forward, loader, probe, tile])
def test_ours_comes_first_and_peers_need_the_flag(bench, tmp_path):
    entries = bench.entries(bench.Options(), tmp_path)
    alone, all_of_them = (choose(entries, peer, "") for peer in (False, True))
    assert alone[0].name == all_of_them[0].name == "pathjax"
    assert not any(entry.modules for entry in alone)
    assert any(entry.modules for entry in all_of_them)


def test_contestants_have_the_options_of_their_names():
    entries = {entry.name: entry for entry in step.entries(step.Options())}
    assert entries["pathjax"].options["dtype"] == "float32"
    assert entries["pathjax-bf16"].options["dtype"] == "bfloat16"
    assert entries["untuned"].environ["GLIBC_TUNABLES"] == ""
    assert entries["torch-bf16"].options["dtype"] == "bfloat16"
    assert entries["torch"].options["vit"]["width"] == 384


def test_options_are_read_by_type():
    options = parse_options(
        step.Options, ["--config.variant=Ti/16", "--config.batch=4"]
    )
    assert (options.variant, options.batch) == ("Ti/16", 4)
    assert options.genes == step.Options().genes


def test_every_mistake_in_options_is_named():
    with pytest.raises(BenchError) as caught:
        parse_options(
            loader.Options,
            ["--config.bach=4", "--config.tiles=0", "--config.count=x", "--batch=3"],
        )
    text = str(caught.value)
    assert "unknown option 'bach'; did you mean batch" in text
    assert "tiles=0: expected a whole number above 0" in text
    assert "count=x: expected a whole number above 0" in text
    assert "expected --config.NAME=VALUE, got --batch=3" in text


def test_mistakes_are_found_before_a_worker_starts():
    with pytest.raises(BenchError, match="'bathc'; did you mean batch"):
        run_bench("step", False, None, ["--config.bathc=3"])
    with pytest.raises(BenchError, match="are peers: add --peer"):
        run_bench("step", False, None, ["--config.contestants=torch"])
    with pytest.raises(BenchError, match="contestants tensorrt; expected pathjax"):
        run_bench("step", True, None, ["--config.contestants=pathjax,tensorrt"])


def test_a_matrix_product_has_a_rate():
    assert jax_matrix(side=64)["jax"] > 0


SMALL_STEP = (
    "variant=Xs/8 image_px=16 batch=2 genes=8 layers=1 width=8 embed_dim=4 count=1 "
    "rounds=2 threads=1 contestants=pathjax"
)


@pytest.mark.slow
def test_the_command_prints_and_writes(tmp_path, capsys):
    out = tmp_path / "step.json"
    words = [f"--config.{word}" for word in SMALL_STEP.split()]
    run_bench("step", False, out, words)
    found = json.loads(out.read_text())
    ours = found["contestants"]["pathjax"]
    assert len(ours["items_per_second"]["rounds"]) == 2
    assert ours["device"].startswith("cpu") and ours["share_of_matrix_rate"] > 0
    assert ours["peak_resident_bytes"] > 1e8
    assert len(found["matrix_gflops"]["jax"]["rounds"]) == 2
    assert found["ratios"] == [] and found["options"]["variant"] == "Xs/8"
    assert "pathjax float32" in capsys.readouterr().out
