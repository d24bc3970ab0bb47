"""Real processes that embed together, against one: the same bytes."""

import pytest
from launched import run_together
from made_model import made_model

from pathjax.models.model_file import save_model

pytestmark = pytest.mark.slow


def test_processes_share_the_tiles_out_and_join_them(tiny_study, tmp_path):
    save_model(tmp_path / "run", made_model(tiny_study, "regression"))
    words = ["embed", str(tmp_path / "run"), str(tiny_study.root), "--batch=8"]
    for count in (1, 2, 4):
        out = tmp_path / f"{count}.h5"
        logs = tmp_path / f"logs-{count}"
        ends = run_together([*words, f"--out={out}"], count, logs, devices=1)
        assert [one.status for one in ends] == [0] * count
        assert f"{out}, shard {count}/{count}: " in ends[-1].text
        assert [f"{out}: 72 x " in one.text for one in ends] == [True] + [False] * (
            count - 1
        )
        assert out.read_bytes() == (tmp_path / "1.h5").read_bytes()
        assert not out.with_name(f"{count}.h5.partial").exists()
