"""Results as files: results.json with an entry per model, seed and task, and the rows.

    TaskOutcome -> entry -> write_results(run) -> RUN/results.json, RUN/predictions/*.npz

Tables and figures are made from these files only. Every file appears whole or not at
all; writers of one run folder wait for each other. Arrays are read without pickle.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pathjax
from pathjax.evals.tasks import TaskOutcome
from pathjax.files import atomic_path, write_json

SCHEMA = 2
NUMBER = (int, float)
TEXT = (str,)
# Key -> accepted types; None is accepted where NoneType is listed.
ENTRY: dict[str, tuple[type, ...]] = {
    "model": TEXT,
    "base": (str, type(None)),
    "seed": (int, type(None)),
    "task": TEXT,
    "study": TEXT,
    "study_fingerprint": TEXT,
    "level": TEXT,
    "target": (str, type(None)),
    "kind": TEXT,
    "protocol": TEXT,
    "metric": TEXT,
    "combine": TEXT,
    "split": TEXT,
    "folds": (dict,),
    "value": NUMBER,
    "chance": NUMBER,
    "n": (int,),
    "n_patients": (int,),
    "declared": (dict,),
    "hyper": (dict,),
    "per_fold": (list,),
    "predictions": (str, type(None)),
    "checkpoint": (str, type(None)),
    "audit": (dict,),
    "synthetic": (bool,),
    "shared_patients": (list,),
}


class ResultsError(ValueError):
    """A results file is not what this version writes; the message says how."""


@dataclasses.dataclass(frozen=True)
class Results:
    """What a run folder holds."""

    root: Path
    provenance: dict[str, Any]
    entries: list[dict[str, Any]]


def make_entry(
    outcome: TaskOutcome,
    *,
    model: str,
    base: str | None = None,
    seed: int | None = None,
    checkpoint: str | None = None,
    audit: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The entry of one outcome, without its rows.

    Args:
      outcome: of `run_task`.
      model: the row's name in the table; one name for all its seeds.
      base: the model it was tuned from, None for a base or a yardstick.
      seed: fine-tuning seed; None for a model that has none.
      checkpoint: where the parameters came from.
      audit: this task's record of `audit`.
    """
    task = outcome.task
    return {
        "model": model,
        "base": base,
        "seed": seed,
        "task": task.name,
        "study": outcome.study,
        "study_fingerprint": outcome.fingerprint,
        "synthetic": outcome.synthetic,
        "level": task.level,
        "target": task.target,
        "kind": task.kind,
        "protocol": outcome.protocol,
        "metric": outcome.metric,
        "combine": outcome.combine,
        "split": task.split,
        "folds": task.folds,
        "shared_patients": list(outcome.shared_patients),
        "value": outcome.value,
        "chance": outcome.chance,
        "n": outcome.n,
        "n_patients": outcome.n_patients,
        "declared": dataclasses.asdict(task),
        "hyper": outcome.hyper,
        "per_fold": outcome.per_fold,
        "predictions": None,
        "checkpoint": checkpoint,
        "audit": audit or {"status": "not audited"},
    }


def _key(entry: dict[str, Any]) -> tuple[str, int | None, str]:
    return entry["model"], entry["seed"], entry["task"]


def _prediction_name(entry: dict[str, Any]) -> str:
    words = [entry["model"], entry["task"], f"seed{entry['seed']}"]
    readable = "--".join(re.sub(r"[^A-Za-z0-9._-]+", "-", word) for word in words)
    # Two names that read alike keep apart by the hash of the exact key.
    exact = hashlib.sha256(json.dumps(_key(entry)).encode()).hexdigest()[:8]
    return f"predictions/{readable[:120].strip('.-')}--{exact}.npz"


def git_commit(folder: Path) -> str | None:
    """The commit of the checkout that holds `folder`, "+" where it was changed.

    None when `folder` is not at the top of a git checkout: an installed package inside
    somebody's repository is not that repository's version.
    """
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        dirty = "+" if git("status", "--porcelain", "--untracked-files=no") else ""
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None  # no git program, or a stuck one: the version has to do
    return commit + dirty if commit else None


def make_provenance() -> dict[str, Any]:
    """Who wrote a results file: versions, commit, command and time (UTC)."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "pathjax": pathjax.__version__,
        "git_commit": git_commit(Path(pathjax.__file__).resolve().parent.parent),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "time": now.isoformat(timespec="seconds"),
    }


def entry_problems(entry: Any, place: str) -> list[str]:
    """What is wrong with an entry's keys and types; empty when nothing."""
    if not isinstance(entry, dict):
        return [f"{place} is a {type(entry).__name__}, wanted an object"]
    missing = [key for key in ENTRY if key not in entry]
    found = [f"{place} lacks {', '.join(missing)}"] if missing else []
    for key, kinds in ENTRY.items():
        value = entry.get(key)
        bad_bool = isinstance(value, bool) and bool not in kinds
        if key in entry and (bad_bool or not isinstance(value, kinds)):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            found.append(f"{place}: {key} is {value!r}, wanted {wanted}")
        elif key in ("value", "chance") and key in entry and not np.isfinite(value):
            found.append(f"{place}: {key} is {value}, wanted a finite number")
    return found


@contextlib.contextmanager
def _one_writer(root: Path) -> Iterator[None]:
    """Holds the run folder's lock; the kernel frees it when a process dies."""
    if os.name != "posix":
        yield  # no such lock there: run one writer at a time
        return
    import fcntl

    with open(root / ".results.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_results(
    root: str | Path,
    outcomes: Sequence[tuple[dict[str, Any], TaskOutcome | None]],
) -> Path:
    """Adds entries to a run folder; an entry of the same model, seed and task goes.

    Args:
      root: the run folder; made when missing.
      outcomes: entries with the outcomes whose rows are saved beside them.

    Returns:
      The path of results.json.

    Raises:
      ResultsError: an entry is malformed, the file there is of another schema, or a
        task's name stands for another study there.
    """
    root = Path(root)
    found = [
        problem
        for place, (entry, _) in enumerate(outcomes)
        for problem in entry_problems(entry, f"entry {place}")
    ]
    if found:
        raise ResultsError("; ".join(found))
    root.mkdir(parents=True, exist_ok=True)
    path = root / "results.json"
    provenance = make_provenance()
    with _one_writer(root):
        old = read_results(root).entries if path.exists() else []
        fresh = []
        for entry, outcome in outcomes:
            entry = {**entry, "written": provenance["time"]}
            if outcome is not None:
                entry["predictions"] = _prediction_name(entry)
                _write_rows(root / entry["predictions"], outcome)
            fresh.append(entry)
        keys = {_key(entry) for entry in fresh}
        merged = [entry for entry in old if _key(entry) not in keys] + fresh
        studies: dict[str, str] = {}
        for entry in merged:
            other = studies.setdefault(entry["task"], entry["study"])
            if other != entry["study"]:
                raise ResultsError(
                    f"task {entry['task']} is of study {other} and of study "
                    f"{entry['study']} in {path}: give one another name"
                )
        write_json(
            path, {"schema": SCHEMA, "provenance": provenance, "entries": merged}
        )
    return path


def _write_rows(path: Path, outcome: TaskOutcome) -> None:
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(
            file,
            truth=outcome.truth,
            prediction=outcome.prediction,
            patient=np.asarray(outcome.patient, dtype=np.str_),
            unit=np.asarray(outcome.unit, dtype=np.str_),
            stratum=np.asarray(outcome.stratum, np.int32),
            columns=np.asarray(outcome.columns, dtype=np.str_),
        )


def read_results(root: str | Path) -> Results:
    """Reads a run folder, or a results.json.

    Raises:
      ResultsError: there is none, it is no JSON, its schema is another, or entries are
        malformed (all of them listed).
    """
    path = Path(root)
    path = path if path.suffix == ".json" else path / "results.json"
    if not path.is_file():
        raise ResultsError(f"there is no {path}: run `pathjax evaluate` first")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path} is not JSON: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ResultsError(
            f"{path} has schema {schema!r}, this pathjax reads {SCHEMA}: probe again "
            "with this version into a new folder"
        )
    entries = content.get("entries")
    if not isinstance(entries, list) or not isinstance(content.get("provenance"), dict):
        raise ResultsError(f"{path} lacks entries (a list) or provenance (an object)")
    found = [
        problem
        for place, entry in enumerate(entries)
        for problem in entry_problems(entry, f"entry {place}")
    ]
    if found:
        raise ResultsError(f"{path}: {'; '.join(found)}")
    return Results(path.parent, content["provenance"], entries)


def read_predictions(root: Path, entry: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """An entry's rows, as `TaskOutcome` has them; None without rows.

    Raises:
      ResultsError: the file is missing, outside the run folder, or lacks an array.
    """
    if entry["predictions"] is None:
        return None
    path = (root / entry["predictions"]).resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        raise ResultsError(
            f"predictions {entry['predictions']} of {entry['model']}, "
            f"{entry['task']} are not in {root}: copy the run folder whole"
        )
    with np.load(path, allow_pickle=False) as arrays:
        wanted = ("truth", "prediction", "patient", "unit", "stratum", "columns")
        missing = [name for name in wanted if name not in arrays]
        if missing:
            raise ResultsError(f"{path} lacks {', '.join(missing)}")
        return {name: arrays[name] for name in wanted}
