"""Remedies for a job that does not fit: their order and flags."""

import jax
import pytest

from pathjax.config import load
from pathjax.parallel.hardware import parse_target
from pathjax.plan import remedies
from pathjax.plan.inputs import Sizes
from pathjax.plan.memory import Overflow
from pathjax.plan.remedies import find_remedies
from pathjax.plan.steps import DoesNotFit

TARGET = parse_target("v5e:2x4")
SMOKE = "configs/tcga.py:contrastive,smoke"


def overflow(needed):
    return Overflow(needed, 100, [], f"needs {needed} of 100")


class Fits:
    """The attributes of a step that a remedy reads."""

    class memory:
        peak = 80

    class bound:
        seconds = 2.0


class Sharded:
    """A program whose state is its `fsdp`."""

    def __init__(self, config):
        self.fsdp = config.mesh.fsdp

    def abstract_state(self):
        return self.fsdp, None


@pytest.fixture
def tried(monkeypatch):
    """Tries with a compiler that needs `needs(config)` of 100 bytes."""

    def run(needs, tries=3, **changes):
        config = load(SMOKE, {"data.batch": 256} | changes)

        def compile_it(config, *_, **__):
            if needs(config) > 100:
                raise DoesNotFit("train", overflow(needs(config)), [], [])
            return [Fits()]

        monkeypatch.setattr(remedies, "plan_steps", compile_it)
        monkeypatch.setattr(
            remedies, "build", lambda config, *_: (Sharded(config), None)
        )
        monkeypatch.setattr(remedies, "device_bytes", lambda fsdp: run.state // fsdp)
        return find_remedies(
            config,
            TARGET,
            jax.devices(),
            DoesNotFit("train", overflow(needs(config)), [], []),
            sizes=Sizes(),
            tries=tries,
        )

    run.state = 8
    return run


def test_rematerialisation_comes_first(tried):
    (one,) = tried(lambda config: 90 if config.model.get("remat") else 500)
    assert one.fits and one.peak == 80
    assert one.flags == ("--config.model.remat=true",)
    assert one.note == "blocks are computed twice; at least 2 s a step"


def test_accumulation_is_sized_by_the_excess(tried):
    def needs(config):
        return 600 // config.optim.accumulate // (2 if config.model.get("remat") else 1)

    first, second = tried(needs)
    assert not first.fits and first.peak == 300
    # 3.3 times too much with a margin: 4 parts of 256 rows over 8 devices.
    assert second.fits
    assert second.flags == ("--config.model.remat=true", "--config.optim.accumulate=4")


def test_a_large_state_is_sharded_further(tried):
    tried.state = 400
    (_, second) = tried(lambda config: 90 if config.mesh.fsdp >= 8 else 500)
    assert second.flags == ("--config.model.remat=true", "--config.mesh.fsdp=8")


def test_the_last_try_is_a_smaller_batch(tried):
    found = tried(lambda config: config.data.batch * 4, tries=2)
    assert [one.fits for one in found] == [False, True]
    # 1,024 of 100 bytes: a sixteenth of the batch.
    flags = ("--config.model.remat=true", "--config.data.batch=16")
    assert found[-1].flags == flags
    assert "a different run" in found[-1].note


def test_no_tries_and_nothing_left_to_change(tried):
    assert tried(lambda config: 500, tries=0) == []
    found = tried(lambda config: 500, **{"data.batch": 8, "model.remat": True})
    assert found == []
