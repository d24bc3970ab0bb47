"""Real processes, real SIGKILL: three of the harness's trials."""

import pytest
from reliability import trials


@pytest.mark.slow
def test_three_kills_end_bit_for_bit(tmp_path):
    record = trials(tmp_path, kills=3, seed=1)
    assert record["killed"] == 3
    assert [trial["differences"] for trial in record["trials"]] == [[], [], []]
