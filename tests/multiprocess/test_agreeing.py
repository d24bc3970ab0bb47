"""What two real processes say to each other outside compiled steps."""

from pathlib import Path

import pytest
from launched import run_together

SCRIPT = Path(__file__).with_name("agreeing.py")


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    """Flags, barriers, comparing; arrays on meshes of any device order; checkpoints."""
    more = {"FOLDER": str(tmp_path / "checkpoints"), "PYTHONPATH": "tests"}
    ends = run_together([], 2, tmp_path, devices=2, script=str(SCRIPT), **more)
    assert [one.status for one in ends] == [0, 0]
    assert all("all is well" in one.text for one in ends)
