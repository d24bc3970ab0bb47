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
    """Three strengths in place of 8 and 13: what is tested here is not their number."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("linear/1", "ridge/1"):
            whole = PROTOCOLS[name]
            probe = dataclasses.replace(whole.probe, l2=whole.probe.l2[1:6:2])
            few = dataclasses.replace(whole, probe=probe)
            patch.setitem(PROTOCOLS._items, name, few)
        yield
