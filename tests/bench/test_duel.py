"""The duel's arithmetic on fake workers, and a worker's process that misbehaves."""

import os
import sys
import textwrap

import pytest

from pathjax.bench.duel import (
    Entry,
    Record,
    Worker,
    paired_ratio,
    require_modules,
    spread,
    take_turns,
)
from pathjax.bench.options import BenchError


class Fake:
    """Takes as long as told, and notes when it was asked."""

    def __init__(self, name, seconds, diary, gflops=None):
        self.name, self.seconds, self.diary = name, iter(seconds), diary
        self.gflops = gflops or {}

    def ask(self, do, count=0):
        self.diary.append((self.name, do))
        if do == "matrix":
            return {"gflops": self.gflops}
        seconds = next(self.seconds)
        return {"images": 8 * count, "seconds": seconds, "cpu_seconds": 2 * seconds}


def test_turns_alternate_and_a_round_ends_with_the_matrix():
    diary, seen = [], []
    workers = {
        "a": Fake("a", [1.0, 2.0], diary, {"jax": 400.0}),
        "b": Fake("b", [2.0, 4.0], diary, {"torch": 200.0, "numpy": 220.0}),
    }
    records, matrix = take_turns(workers, 2, 3, lambda *given: seen.append(given))
    one = [("a", "run"), ("b", "run"), ("a", "matrix"), ("b", "matrix")]
    assert diary == one * 2
    assert records["a"].rates == [24.0, 12.0]
    assert records["b"].rates == [12.0, 6.0]
    assert records["b"].cpu_rates == [6.0, 3.0]
    assert matrix == {"jax": [400.0] * 2, "torch": [200.0] * 2, "numpy": [220.0] * 2}
    assert seen[-1] == (2, "")


def test_a_machine_that_drifts_leaves_the_ratio():
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


def test_spread():
    assert spread([3.0, 1.0, 2.0, 10.0]) == {"median": 2.5, "min": 1.0, "max": 10.0}


def test_cpu_rate_is_unknown_where_children_work():
    assert Record([8], [1.0], [None]).cpu_rates == []


@pytest.fixture
def worker(tmp_path):
    """Starts a worker whose contestant is written in the test."""

    def start(body):
        (tmp_path / "guest.py").write_text(
            "from pathjax.bench.worker import serve\n"
            "class Guest:\n"
            "    info = {'note': 'hello'}\n"
            "    def __init__(self, options): print('noise')\n"
            "    def prepare(self): pass\n"
            "    def matrix(self): return {'guest': 1.0}\n"
            + textwrap.indent(textwrap.dedent(body), "    ")
            + "\nserve(Guest)\n"
        )
        entry = Entry("guest", "Guest", "guest", {"threads": 1})
        return Worker(entry, sys.executable, os.environ | {"PYTHONPATH": str(tmp_path)})

    return start


def test_a_worker_answers_through_its_noise(worker):
    with worker(
        "def run(self, count):\n    print('more')\n    return 5 * count"
    ) as one:
        one.start()
        assert one.info == {"note": "hello"}
        answer = one.ask("run", count=3)
        assert answer["images"] == 15
        assert answer["seconds"] > 0 and answer["cpu_seconds"] >= 0
        assert one.ask("matrix")["gflops"] == {"guest": 1.0}
        assert one.peak_bytes > 1_000_000


def test_a_worker_that_dies_leaves_its_last_words(worker):
    with worker("def run(self, count): raise RuntimeError('no paper')") as one:
        one.start()
        with pytest.raises(BenchError, match="guest ended with status 1(.|\n)*paper"):
            one.ask("run", count=1)


def test_a_missing_peer_is_named_with_what_to_do():
    require_modules(sys.executable, ["json"])
    with pytest.raises(BenchError) as caught:
        require_modules(sys.executable, ["json", "no_such_peer"])
    text = str(caught.value)
    assert "found no no_such_peer" in text and "json" not in text
    assert "pip install 'pathjax[peers]'" in text and "peer_python" in text
