"""Results as files: results.json with an entry per model, seed and task, and the rows.

    TaskOutcome -> entry -> write_results(run) -> RUN/results.json, RUN/predictions/*.npz

Tables and figures are made from these files only. Every file appears whole or not at
all; writers of one run folder wait for each other. Arrays are read without pickle.
"""

import collections
import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import pathjax
from pathjax.buckets import has, local, refresh
from pathjax.data.study import listing, sha256
from pathjax.evals import EvalError
from pathjax.evals.probes.minibatch import SCORED_FOLD
from pathjax.evals.tasks import TaskOutcome
from pathjax.files import atomic_path, command_line, mismatch, read_json, write_json

SCHEMA = 2
SOFTWARE = ("pathjax", "git_commit", "jax", "python")  # of each entry
# Key -> accepted types.
TEXT = (str,)
TEXT_OR_NONE = (str, type(None))
ENTRY: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "task", "study", "study_fingerprint", "level"), TEXT),
    **dict.fromkeys(("kind", "protocol", "metric", "combine", "split"), TEXT),
    **dict.fromkeys(("base", "target", "predictions", "checkpoint"), TEXT_OR_NONE),
    "seed": (int, type(None)),
    **dict.fromkeys(("value", "chance"), (int, float)),
    **dict.fromkeys(("n", "n_patients"), (int,)),
    **dict.fromkeys(("folds", "declared", "hyper", "audit"), (dict,)),
    **dict.fromkeys(("per_fold", "shared_patients"), (list,)),
    "synthetic": (bool,),
}
UNSCORED = ("model", "base", "seed", "task", "study", "reason")
# Rows that a task does not use, by their key in `hyper`.
LEFT_OUT = {
    "unlabelled": "without a label",
    "of_other_classes": "of classes that the task does not name",
    "of_unseen_sites": "of an unknown site, or of one that the fit fold lacks",
    "without_site": "of an unknown site",
    "without_expression": "without expression",
    "without_time": "with a follow-up of 0 months or less",
    "without_partner": "without expression to retrieve",
}
# Arrays of a TaskOutcome that are saved, and as what; None keeps their type.
ARRAYS = {"truth": None, "prediction": None, "patient": np.str_, "unit": np.str_,
          "stratum": np.int32, "columns": np.str_}  # fmt: skip
BLOCK = "block"  # an array more, of tasks with blocks_um
SLIDE = "slide"  # and of those with a metric per slide
# A record of each further metric of the same fit, in entries that have any.
MORE_METRICS = [{"metric": str, "value": float, "chance": float, "values": [float]}]


@dataclasses.dataclass(frozen=True)
class Results:
    """The contents of a run folder.

    Attributes:
      root, provenance: The folder, and who wrote it.
      entries: Of each model, seed and task that was scored.
      unscored: Of those that could not be, `UNSCORED` keys; absent in older files.
    """

    root: Path
    provenance: dict[str, Any]
    entries: list[dict[str, Any]]
    unscored: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def make_entry(
    outcome: TaskOutcome,
    *,
    model: str,
    base: str | None = None,
    seed: int | None = None,
    checkpoint: str | None = None,
    audit: dict[str, Any] | None = None,
    inputs: dict[str, Any] | None = None,
    control: str = "",
) -> dict[str, Any]:
    """The entry of one outcome, without its rows.

    Args:
      outcome: Of `run_task`.
      model: The row's name in the table; one name for all its seeds.
      base: The model it was tuned from, None for a base or hand-crafted features.
      seed: Fine-tuning seed; None for a model that has none.
      checkpoint: Where the parameters came from.
      audit: This task's record of `audit`.
      inputs: Hashes of all that the result depends on (candidates.all_inputs).
      control: What the model is a control for, see `Candidate.control`.
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
        **{key: getattr(task, key) for key in ("level", "target", "kind")},
        **{key: getattr(outcome, key) for key in ("protocol", "metric", "combine")},
        "split": task.split,
        "folds": task.folds,
        "shared_patients": list(outcome.shared_patients),
        **{
            key: getattr(outcome, key) for key in ("value", "chance", "n", "n_patients")
        },
        "declared": task.declared,
        "hyper": outcome.hyper,
        "per_fold": outcome.per_fold,
        "predictions": None,
        "checkpoint": checkpoint,
        "audit": audit or {"status": "not audited"},
        **({"inputs": inputs} if inputs else {}),
        **({"control": control} if control else {}),
        **({} if outcome.block is None else {"n_blocks": len(set(outcome.block))}),
        **({"more_metrics": [*outcome.more_metrics]} if outcome.more_metrics else {}),
    }


def _key(entry: dict[str, Any]) -> tuple[str, int | None, str]:
    return entry["model"], entry["seed"], entry["task"]


def _prediction_name(entry: dict[str, Any]) -> str:
    words = [entry["model"], entry["task"], f"seed{entry['seed']}"]
    readable = "--".join(re.sub(r"[^A-Za-z0-9._-]+", "-", word) for word in words)
    # Two names that read alike keep apart by the hash of the exact key.
    exact = hashlib.sha256(json.dumps(_key(entry)).encode()).hexdigest()[:8]
    return f"predictions/{readable[:120].strip('.-')}--{exact}.npz"


def chosen_on_scored_rows(entry: dict[str, Any]) -> bool:
    """True where a score is the best of many for the very rows that are scored."""
    fits = [entry["hyper"], *entry["hyper"].get("rounds", {}).values()]
    return any(str(fit.get("chosen_by")).startswith(SCORED_FOLD) for fit in fits)


def rows_left_out(entry: dict[str, Any]) -> list[str]:
    """Which rows of the folds were not used, by number and reason.

    Of a cross-validation the tested ones, each of which is in one fold's test.
    """
    folds = entry["hyper"].get("rounds", {})
    sentences = []
    for key, reason in LEFT_OUT.items():
        rows: collections.Counter[str] = collections.Counter()
        for record in list(folds.values()) or [entry["hyper"]]:
            by_role = record.get(key, {})
            rows.update({"test": by_role} if isinstance(by_role, int) else by_role)
        roles = ["test"] if folds else list(rows)
        named = " and ".join(f"{rows[role]} {role}" for role in roles if rows[role])
        if named:
            sentences.append(f"{named} rows {reason}")
    return sentences


def git_commit(folder: Path) -> str | None:
    """The commit of the checkout that holds `folder`, "+" where it was changed.

    None when `folder` is not at the top of a git checkout: an installed package inside
    somebody's repository is not that repository's version.
    """
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=False
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
        "command": command_line(),
        "time": now.isoformat(timespec="seconds"),
    }


def entry_problems(entry: Any, place: str) -> list[str]:
    """What is wrong with an entry's keys and types; empty when nothing."""
    if not isinstance(entry, dict):
        return [f"{place}: expected an object, got {type(entry).__name__}"]
    missing = [key for key in ENTRY if key not in entry]
    problems = [f"{place} lacks {', '.join(missing)}"] if missing else []
    for key in (key for key in ENTRY if key in entry):
        value = entry[key]
        kinds = ENTRY[key]
        bad_bool = isinstance(value, bool) and bool not in kinds
        if bad_bool or not isinstance(value, kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            problems.append(f"{place}: expected {key} to be {expected}, got {value!r}")
        elif key in ("value", "chance") and not np.isfinite(entry[key]):
            problems.append(f"{place}: expected {key} to be finite, got {value}")
    if wrong := mismatch(entry.get("more_metrics", []), MORE_METRICS, "more_metrics"):
        problems.append(f"{place}: {wrong}")
    return problems


def _require_entries(entries: Sequence[Any], where: str = "") -> None:
    problems = [
        problem
        for place, entry in enumerate(entries)
        for problem in entry_problems(entry, f"entry {place}")
    ]
    if problems:
        raise EvalError(where + listing(problems))


@contextlib.contextmanager
def _one_writer(root: Path) -> Iterator[None]:
    """Holds the run folder's lock; the kernel releases it when a process dies."""
    with open(root / ".results.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_results(
    root: str | Path,
    outcomes: Sequence[tuple[dict[str, Any], TaskOutcome | None]],
    unscored: Sequence[dict[str, Any]] = (),
    order: Sequence[tuple[str, int | None, str]] = (),
) -> Path:
    """Adds entries to a run folder, replacing those of the same model, seed and task.

    Args:
      root: The run folder; made when missing.
      outcomes: Entries with the outcomes whose rows are saved next to them.
      unscored: What could not be scored, with `UNSCORED` keys.
      order: Model, seed and task of the entries as they are to stand in the file,
        whichever process was first; others stay before them.

    Returns:
      The path of results.json.

    Raises:
      EvalError: An entry is malformed, the file there is of another schema, or a task
        has the name of another study's task there.
    """
    root = local(root)
    _require_entries([entry for entry, _ in outcomes])
    root.mkdir(parents=True, exist_ok=True)
    path = root / "results.json"
    provenance = make_provenance()
    software = {name: provenance[name] for name in SOFTWARE}
    with _one_writer(root):
        refresh(path)  # another machine may have written into the bucket since
        old = read_results(root) if path.exists() else Results(root, {}, [])
        fresh = []
        for entry, outcome in outcomes:
            entry = {**entry, "written": provenance["time"], "software": software}
            if outcome is not None:
                entry["predictions"] = _prediction_name(entry)
                _write_rows(root / entry["predictions"], outcome)
                entry["predictions_sha256"] = sha256(root / entry["predictions"])
            fresh.append(entry)
        keys = {_key(entry) for entry in (*fresh, *unscored)}
        merged = [entry for entry in old.entries if _key(entry) not in keys] + fresh
        failed = [entry for entry in old.unscored if _key(entry) not in keys]
        failed += unscored
        place = {key: i for i, key in enumerate(order)}
        for entries in (merged, failed):
            entries.sort(key=lambda entry: place.get(_key(entry), -1))
        studies: dict[str, str] = {}
        for entry in merged:
            other = studies.setdefault(entry["task"], entry["study"])
            if other != entry["study"]:
                raise EvalError(
                    f"{path} has task {entry['task']} of study {other} and of study "
                    f"{entry['study']}: rename one"
                )
        content = {"schema": SCHEMA, "provenance": provenance, "entries": merged}
        if failed:
            content["unscored"] = failed
        write_json(path, content)
    return path


def _write_rows(path: Path, outcome: TaskOutcome) -> None:
    arrays: dict[str, Any] = {
        name: np.asarray(getattr(outcome, name), kind) for name, kind in ARRAYS.items()
    }
    more = {name: getattr(outcome, name) for name in (BLOCK, SLIDE)}
    arrays |= {
        k: np.asarray(ids, np.str_) for k, ids in more.items() if ids is not None
    }
    with atomic_path(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_results(root: str | Path) -> Results:
    """Reads a run folder, or a results.json.

    Raises:
      EvalError: The file is missing, no JSON, of another schema, or has malformed
        entries (all of them listed).
    """
    path = local(root)
    path = path if path.suffix == ".json" else path / "results.json"
    if not path.is_file():
        raise EvalError(f"{path} does not exist: run `pathjax evaluate` first")
    try:
        content = read_json(path)
    except ValueError as error:
        raise EvalError(str(error)) from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise EvalError(
            f"{path}: expected schema {SCHEMA}, got {schema!r}: evaluate again with this "
            "version into a new folder"
        )
    unscored: dict[str, Any] = dict.fromkeys(UNSCORED, str)
    unscored |= {"base": (str, type(None)), "seed": (int, type(None))}
    shape = {
        "entries": list,
        "provenance": {str: (str, type(None))},
        "unscored?": [unscored],
    }
    if problem := mismatch(content, shape):
        raise EvalError(f"{path}: {problem}")
    entries, left_out = content["entries"], content.get("unscored") or []
    _require_entries(entries, f"{path}: ")
    return Results(path.parent, content["provenance"], entries, left_out)


def read_predictions(root: Path, entry: dict[str, Any]) -> dict[str, np.ndarray] | None:
    """An entry's rows, as `TaskOutcome` has them; None without rows.

    Raises:
      EvalError: The file is missing, outside the run folder, not the one that was
        written with the entry, or lacks an array.
    """
    if entry["predictions"] is None:
        return None
    path = (root / entry["predictions"]).resolve()
    if not path.is_relative_to(root.resolve()) or not has(path):
        raise EvalError(
            f"predictions {entry['predictions']} of {entry['model']}, "
            f"{entry['task']} are not in {root}: copy the run folder whole"
        )
    with np.load(path, allow_pickle=False) as arrays:
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise EvalError(f"{path} lacks {', '.join(missing)}")
        every = (*ARRAYS, BLOCK, SLIDE)
        rows = {name: arrays[name] for name in every if name in arrays}
    # A kill between the two files leaves rows that are newer than their entry.
    if entry.get("predictions_sha256") not in (None, sha256(path)):
        raise EvalError(
            f"{path} is not the file that was written with the result of "
            f"{entry['model']}, {entry['task']}: run the same `pathjax evaluate` again"
        )
    return rows
