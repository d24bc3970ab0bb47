"""Stand-ins for a cluster's command-line clients: they log what they are called with."""

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"
# `next NAME` gives the next line of a file, and the last one for ever.
NEXT = """
next() {
  head -n 1 "$FAKE/$1"
  if [ "$(wc -l < "$FAKE/$1")" -gt 1 ]; then sed -i 1d "$FAKE/$1"; fi
}
"""


class Cluster:
    """A folder of fake commands, and what was called.

    Attributes:
      root: `$FAKE`: the fakes' files; the commands are in `bin`.
    """

    def __init__(self, root: Path):
        self.root = root
        (root / "bin").mkdir()
        (root / "home").mkdir()
        (root / "calls").touch()

    def fake(self, name: str, body: str = "") -> None:
        """Adds a command that logs its words and then does `body`, which is bash."""
        path = self.root / "bin" / name
        path.write_text(
            "#!/usr/bin/env bash\n"
            f'{{ printf \'%q \' {name} "$@"; echo; }} >> "$FAKE/calls"\n{NEXT}{body}\n'
        )
        path.chmod(0o755)

    def answers(self, name: str, *lines: str) -> None:
        """What `next NAME` gives, line after line."""
        (self.root / name).write_text("".join(f"{line}\n" for line in lines))

    def environment(self, **more: str) -> Mapping[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.root / "home"),
            "FAKE": str(self.root),
            "POLL": "0",
            **more,
        }

    def run(self, script: str, *words: str, **more: str) -> subprocess.CompletedProcess:
        """Runs a script of launch/ with the fakes in front of the PATH."""
        return subprocess.run(
            [str(LAUNCH / script), *words],
            check=False,
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=900,
        )

    def calls(self) -> list[list[str]]:
        """The words of every call so far."""
        return [
            shlex.split(line) for line in (self.root / "calls").read_text().splitlines()
        ]


@pytest.fixture
def cluster(tmp_path):
    return Cluster(tmp_path)
