"""Real processes, real faults: the harness's trials that need one process."""

import pytest
from faults import KINDS, TWO_PROCESSES
from reliability import trials


@pytest.mark.slow
def test_faults_end_in_a_bit_exact_resume_or_a_named_error(tmp_path):
    kinds = [kind for kind in KINDS if kind not in TWO_PROCESSES]
    record = trials(tmp_path, kinds, seed=1, steps=20)
    assert [trial["wrong"] for trial in record["trials"]] == [[]] * len(kinds)
