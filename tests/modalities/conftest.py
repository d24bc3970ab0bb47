"""One cohort for all tests of modalities that change nothing of it; a short grid."""

import dataclasses

import pytest
from modalities_made import made_cohort

from pathjax.evals.protocols import PROTOCOLS


@pytest.fixture(scope="session")
def cohort():
    return made_cohort()


@pytest.fixture(scope="module", autouse=True)
def short_grids():
    """Three strengths in place of 8, 13 and 20: what is tested here is not their number."""
    with pytest.MonkeyPatch.context() as patch:
        for name, field in (
            ("linear/1", "l2"),
            ("ridge/1", "l2"),
            ("cox/1", "penalty"),
        ):
            whole = PROTOCOLS[name]
            grid = getattr(whole.probe, field)[1:6:2]
            probe = dataclasses.replace(whole.probe, **{field: grid})
            few = dataclasses.replace(whole, probe=probe)
            patch.setitem(PROTOCOLS._items, name, few)
        yield
