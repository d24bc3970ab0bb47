"""The commands of the README, and a shell to run them in."""

import os
import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(page: str = README) -> list[str]:
    return re.findall(r"```bash\n(.*?)```", page, re.DOTALL)


def block_with(text: str, page: str = README) -> str:
    (found,) = [block for block in blocks(page) if text in block]
    return found


def bash(script: str, folder: Path, timeout: int, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        # Real work: what the tests' flags save in compilation its steps would lose.
        env=os.environ | {"XLA_FLAGS": ""} | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
