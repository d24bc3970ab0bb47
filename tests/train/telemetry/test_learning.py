"""One warning of each concern: after the warm-up, when it stays."""

from pathjax.train.telemetry.learning import Learning


def said(caplog, lines, warmup=10, speaks=True):
    """Steps at which it warned, of `lines`: step -> names of concerns."""
    learning = Learning(lambda means: dict.fromkeys(means, "do this"), warmup, speaks)
    for step, names in lines.items():
        learning(step, dict.fromkeys(names, 0.0))
    return [record.getMessage() for record in caplog.records]


def test_three_lines_in_a_row_are_one_warning(caplog):
    lines = {step: ["guess"] for step in range(5, 100, 5)}
    assert said(caplog, lines) == ["step 25: do this"]


def test_noise_is_none(caplog):
    lines = {step: ["guess"] * (step % 3 > 0) for step in range(11, 60)}
    assert said(caplog, lines) == []


def test_each_concern_by_itself_and_once(caplog):
    lines = {11: "a", 12: "ab", 13: "ab", 14: "b", 15: "", 16: "a", 17: "a", 18: "a"}
    assert said(caplog, lines) == ["step 13: do this", "step 14: do this"]


def test_one_process_speaks(caplog):
    assert said(caplog, dict.fromkeys(range(11, 20), "a"), speaks=False) == []
