"""Where the numbers come from: versions, commits, studies, models, configs, commands."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pathjax.evals.results import Results

# Lists of genes and of patients, which would be most of the page.
SHOWN_IN_CONFIG = ("config", "study", "versions", "parameters")


def describe_origin(
    results: Sequence[Results], runs: dict[str, Path]
) -> dict[str, Any]:
    """A section's data.

    Args:
      results: of the run folders.
      runs: training runs, name to folder.

    Returns:
      `written`: provenance of each run folder; `studies`, `models`, `protocols`:
      records, each once; `configs`: run and settings, as `KEY=VALUE` lines; `commands`:
      those on record, in the order in which they have to be run.
    """
    studies, models, protocols = {}, {}, {}
    for one in results:
        for entry in one.entries:
            name, seal = entry["study"], entry["study_fingerprint"]
            studies[name, seal] = {
                "study": name,
                "fingerprint": seal,
                "synthetic": entry["synthetic"],
            }
            key = entry["model"], entry["seed"]
            models[key] = {
                key: entry[key] for key in ("model", "base", "seed", "checkpoint")
            }
            protocols.setdefault(entry["protocol"], []).append(entry["task"])
    configs = [_config(run, folder) for run, folder in runs.items()]
    return {
        "written": [{"folder": str(r.root), **r.provenance} for r in results],
        "studies": list(studies.values()),
        "models": list(models.values()),
        "protocols": [
            {"protocol": name, "tasks": list(dict.fromkeys(tasks))}
            for name, tasks in protocols.items()
        ],
        "configs": [one for one in configs if one],
        "commands": _commands(results, runs),
    }


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _config(run: str, folder: Path) -> dict[str, Any] | None:
    content = _read(folder / "config.json")
    if content is None:
        return None
    lines = []
    for part in SHOWN_IN_CONFIG:
        if part in content:
            _flatten(part, content[part], lines)
    return {"run": run, "lines": lines}


def _flatten(path: str, value: Any, lines: list[str]) -> None:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            _flatten(f"{path}.{key}", below, lines)
    else:
        lines.append(f"{path}={json.dumps(value)}")


def _commands(results: Sequence[Results], runs: dict[str, Path]) -> list[str]:
    """Commands on record: of the studies trained on, of probing, and this one."""
    found = []
    for folder in runs.values():
        config = (_read(folder / "config.json") or {}).get("config", {})
        if config.get("study"):
            study = _read(Path(config["study"]) / "study.json") or {}
            found.append(study.get("provenance", {}).get("command"))
    found += [one.provenance.get("command") for one in results]
    found.append(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    return list(dict.fromkeys(text for text in found if text))
