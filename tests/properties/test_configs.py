"""Configs and their flags: the run gets the values, or none starts."""

import math
import types

import pytest
from damage import ODD_NUMBERS, ODD_TEXT, cut, examples, run
from hypothesis import given
from hypothesis import strategies as st

from pathjax.config import base_config, shipped_folder
from pathjax.config.run import flatten

KEYS = sorted(flatten(base_config().to_dict()))
NOT_KEYS = ["optim.lrr", "model.width", "objective.embed_dim", "x", "", ".", "optim."]
JSON = ["[]", "{}", "[1, 2]", '"a"', "null", "1.5", "3", "-3", "true", "[1, NaN]"]
VALUES = ODD_TEXT | ODD_NUMBERS.map(str) | st.sampled_from(JSON)
SOURCE = (shipped_folder() / "demo.py").read_bytes()
SIGNED = {"mesh.data"}  # -1: all devices


@pytest.fixture
def started(monkeypatch):
    """The configs of runs that were started; nothing is trained."""
    configs = []

    def train(config, workdir, bar=None):
        configs.append(config)
        return types.SimpleNamespace(best=None, model=workdir, step=0)

    monkeypatch.setattr("pathjax.train.trainer.train", train)
    return configs


@examples(80)
@given(
    flags=st.lists(
        st.tuples(st.sampled_from(KEYS * 3 + NOT_KEYS), VALUES), min_size=1, max_size=3
    )
)
def test_flags(started, tmp_path, flags):
    started.clear()
    words = [f"--config.{key}={value}" for key, value in flags]
    config = "--config=configs/demo.py:contrastive,smoke"
    done = run("train", config, f"--workdir={tmp_path}", *words)
    assert (done.status == 0) == bool(started)
    if not started:
        return
    values = flatten(started[0].to_dict())
    for key, text in dict(flags).items():
        assert any(f"{name}.".startswith(f"{key}.") for name in values), key
        value = values.get(key)
        if isinstance(value, float | int) and not isinstance(value, bool):
            assert math.isfinite(value), f"{key}={text} was accepted"
            assert value == float(text), f"{key}={text} became {value}"
            assert value >= 0 or key in SIGNED, f"{key}={text} was accepted"


LITERALS = st.sampled_from(
    ["None", "True", "-1", "0", "1.5", "nan", "-inf", "10**400", "'a'", "''", "()",
     "(1, 2)", "[nan]", "{}", "{'a': 1}", "b'x'", "1j"]
)  # fmt: skip


@examples(60)
@given(key=st.sampled_from(KEYS * 2 + ["lrr", "optim.lrr", "a.b"]), literal=LITERALS)
def test_values_in_files(started, tmp_path, key, literal):
    """A value of a config file reaches the run as it is, or the key is named."""
    path = tmp_path / "config.py"
    *parents, last = key.split(".")
    path.write_text(
        "from math import inf, nan\n"
        "from pathjax.config import base_config\n"
        "def get_config(arg=None):\n"
        "    values = base_config().to_dict() | {'study': 's', 'split': 'p'}\n"
        "    values['data']['genes'] = 8\n"
        "    part = values\n"
        f"    for name in {parents}:\n"
        "        part = part.setdefault(name, {})\n"
        f"    part[{last!r}] = {literal}\n"
        "    from ml_collections import ConfigDict\n"
        "    return ConfigDict(values)\n"
    )
    started.clear()
    done = run("train", f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert (done.status == 0) == bool(started)
    if not started:
        assert key.split(".")[-1] in done.err or "get_config" in done.err, done.err
        return
    values = flatten(started[0].to_dict())
    assert key in values or literal == "{}", f"{key}={literal} was accepted"
    if key in values and isinstance(values[key], float | int):
        assert -1e300 < values[key] < 1e300, f"{key}={literal} was accepted"


@examples(25)
@given(
    content=cut(SOURCE)
    | st.sampled_from(
        [b"", b"x = 1", b"def get_config(arg): return 3", b"def get_config(): pass",
         b"import no_such_module", b"raise KeyError(1)", b"\xff\xfe"]
    )
)  # fmt: skip
def test_files(started, tmp_path, content):
    path = tmp_path / "config.py"
    path.write_bytes(content)
    started.clear()
    done = run("train", f"--config={path}", f"--workdir={tmp_path / 'run'}")
    assert (done.status == 0) == bool(started)
