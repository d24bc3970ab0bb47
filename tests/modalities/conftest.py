"""One cohort for all tests of modalities that change nothing of it."""

import pytest
from modalities_made import made_cohort


@pytest.fixture(scope="session")
def cohort():
    return made_cohort()
