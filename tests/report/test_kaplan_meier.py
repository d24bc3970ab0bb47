"""The picture of risk halves: that it is drawn, and of what."""

import numpy as np
from PIL import Image

from pathjax.report import kaplan_meier
from pathjax.report.kaplan_meier import Followed, draw_halves, followed


def rows(n=40):
    time = np.arange(1.0, n + 1)
    truth = np.stack([time, np.arange(n) % 3 > 0], axis=1)
    return Followed(truth, -time, np.arange(n) % 2)


def test_a_panel_for_each_title_with_the_p_of_its_halves(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        kaplan_meier, "log_rank", lambda *arrays: seen.append(arrays) or 0.01
    )
    draw_halves({"one $": rows(), "two": rows(20)}, tmp_path / "km.png", "a note")
    with Image.open(tmp_path / "km.png") as image:
        assert image.width > 600
    assert [len(time) for time, *_ in seen] == [40, 20]
    _, event, high, stratum = seen[0]
    assert event.sum() == 26 and len(np.unique(stratum)) == 2
    # The earlier half of each stratum.
    np.testing.assert_array_equal(high, np.arange(40) < 20)


def test_one_risk_for_all_and_several_runs(tmp_path):
    truth, risk, stratum = rows()
    runs = np.stack([risk, risk + 2], axis=1)[:, :, None]
    assert (followed(truth, runs, stratum).risk == risk + 1).all()
    same = Followed(truth, np.zeros_like(risk), stratum)
    draw_halves({"nobody is above the median": same}, tmp_path / "km.png")
    assert (tmp_path / "km.png").stat().st_size > 5000
