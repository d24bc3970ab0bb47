"""Models x studies x tasks: audit, embed, probe, write; base and tuned alike.

    candidates -> audit -> embeddings (cached .h5) -> run_task -> results.json

Nothing is scored before every task has been checked and every model audited.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.data.images import decode_tile
from pathjax.data.study import Study
from pathjax.embeddings import handcrafted as yardstick
from pathjax.embeddings.cache import cached, cached_rows, identity
from pathjax.embeddings.features import FileRows
from pathjax.embeddings.shared_space import joint_embeddings, shares_space
from pathjax.evals.audit import audit, under_test
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.results import make_entry, read_results, write_results
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task, validate_all
from pathjax.models.model_file import Model, load_model, read_meta

YARDSTICK = "yardstick"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One model to be measured.

    Attributes:
      name: row of the table; the same for all seeds of a model.
      path: run folder or model file; "yardstick" for the colour and texture features.
      base: name of the model it was tuned from.
      seed: its fine-tuning seed.
    """

    name: str
    path: str
    base: str | None = None
    seed: int | None = None

    @property
    def label(self) -> str:
        return self.name if self.seed is None else f"{self.name} (seed {self.seed})"


def parse_candidate(text: str) -> Candidate:
    """Reads `NAME[:BASE][@SEED]=PATH`.

    Raises:
      ValueError: it has another form.
    """
    match = re.fullmatch(r"([^:@=]+)(?::([^:@=]+))?(?:@(\d+))?=(.+)", text)
    if not match:
        raise ValueError(
            f"{text!r} is no model: wanted NAME=PATH for a base and "
            "NAME:BASE@SEED=PATH for a tuned one"
        )
    name, base, seed, path = match.groups()
    return Candidate(name, path, base, None if seed is None else int(seed))


def evaluate(
    candidates: Sequence[Candidate],
    studies: Study | Sequence[Study],
    tasks: Sequence[Task],
    out: Path,
    *,
    allow_overlap: Collection[str] = (),
    progress: Callable[[int, str], None] | None = None,
    **options: Any,
) -> Path:
    """Measures models on tasks and writes OUT/results.json.

    A result is written as soon as it is there, and kept as long as model file, study,
    task and protocol are the same: a killed evaluation goes on where it stopped.

    Args:
      candidates: bases and tuned models.
      studies: those that the tasks are of.
      tasks: what is asked; retrieval is asked of contrastive models only.
      out: the run folder; embeddings are cached in OUT/embeddings.
      allow_overlap: tasks whose overlap with training patients is accepted by name.
      progress: called with (models done, what is being done).
      **options: of the protocols, such as `seeds=1`; they stand in their names.

    Returns:
      The path of results.json.

    Raises:
      TaskError, AuditError, ModelFileError, ValueError: before anything is scored.
    """
    by_name = _by_name([studies] if isinstance(studies, Study) else studies)
    validate_all(list(tasks), by_name)
    names = {one.name for one in candidates}
    orphans = [one.label for one in candidates if one.base and one.base not in names]
    if orphans:
        raise ValueError(f"{', '.join(orphans)} name a base that is not among {names}")
    audits = _audit_all(candidates, by_name, tasks, allow_overlap)
    progress = progress or (lambda done, note: None)
    written = _written(out)
    for place, one in enumerate(candidates):
        # A study is embedded once; a model is loaded when something is missing.
        which, joint = _identity(one), None
        for name, study in by_name.items():
            missing = [
                task
                for task in tasks
                if task.study == name
                and _done(one, task, study, which, options) not in written
            ]
            model = None
            if missing and one.path != YARDSTICK:
                model = load_model(one.path)
            missing = [task for task in missing if _can(model, task)]
            if not missing:
                continue
            progress(place, f"{one.label}: embedding {name}")
            features = _features(one, model, which, study, out)
            for task in missing:
                progress(place, f"{one.label}: {task.name}")
                if task.kind == "retrieval":
                    joint = joint or joint_embeddings(model, study)
                    outcome = run_task(
                        task, study, joint[0], partner=joint[1], **options
                    )
                else:
                    outcome = run_task(task, study, features, **options)
                entry = make_entry(
                    outcome,
                    model=one.name,
                    base=one.base,
                    seed=one.seed,
                    checkpoint=which,
                    audit=audits[one][task.name],
                )
                write_results(out, [(entry, outcome)])
            joint = None
        progress(place + 1, one.label)
    return Path(out) / "results.json"


def _by_name(studies: Sequence[Study]) -> dict[str, Study]:
    found: dict[str, Study] = {}
    for study in studies:
        other = found.setdefault(study.name, study)
        if other is not study:
            raise ValueError(
                f"{other.root} and {study.root} are both called {study.name}: name one"
            )
    return found


def open_studies(paths: Sequence[str | Path]) -> list[Study]:
    """The studies that are, or lie in, the folders named.

    Raises:
      ValueError: a folder is no study and holds none.
    """
    found = []
    for path in map(Path, paths):
        inside = [path] if (path / "study.json").exists() else sorted(path.glob("*/"))
        whole = [one for one in inside if (one / "study.json").exists()]
        if not whole:
            raise ValueError(
                f"{path} is no study and holds none: wanted a folder with study.json, "
                "or one whose folders have it; `pathjax data` builds them"
            )
        found += [Study(one) for one in whole]
    return found


def _can(model: Model | None, task: Task) -> bool:
    """Retrieval needs images and expression in one space."""
    return task.kind != "retrieval" or (model is not None and shares_space(model))


def _identity(one: Candidate) -> str:
    """Which parameters these are."""
    return YARDSTICK if one.path == YARDSTICK else identity(one.path)


def _written(out: Path) -> set[tuple]:
    """What an earlier run of the same command has written already."""
    if not (Path(out) / "results.json").exists():
        return set()
    return {
        (
            entry["model"],
            entry["seed"],
            entry["study_fingerprint"],
            entry["checkpoint"],
            entry["protocol"],
            json.dumps(entry["declared"], sort_keys=True),
        )
        for entry in read_results(out).entries
    }


def _done(one: Candidate, task: Task, study: Study, which: str, options) -> tuple:
    """As a result of this stands in `_written`."""
    return (
        one.name,
        one.seed,
        study.fingerprint,
        which,
        PROTOCOLS[task.protocol_name].with_options(options).name,
        json.dumps(dataclasses.asdict(task), sort_keys=True),
    )


def _audit_all(
    candidates, studies, tasks, allow_overlap
) -> dict[Candidate, dict[str, dict]]:
    """Every model's record of every task; refuses before anything is computed."""
    tests = {task.name: under_test(task, studies[task.study]) for task in tasks}
    records = {}
    for one in candidates:
        if one.path == YARDSTICK:  # colours and textures were trained on nobody
            records[one] = {name: {"status": "untrained"} for name in tests}
            continue
        meta = read_meta(one.path)
        seen = meta.get("foundation", {}).get("pretrained_on_tcga")
        records[one] = audit(one.label, meta["audit"], tests, allow_overlap, seen)
    return records


def _features(
    one: Candidate, model: Model | None, which: str, study: Study, out: Path
) -> Float[np.ndarray, "T E"] | FileRows:
    """Embeddings of all tiles, from the cache when the model is the same."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{study.name}-{one.label}")
    path = out / "embeddings" / f"{name}.h5"
    if model is None:
        return cached(path, which, study, lambda: _yardstick(study))
    return cached_rows(path, model, which, study)


def _yardstick(study: Study, batch: int = 64) -> Float[np.ndarray, "T 18"]:
    """The 18 colour and texture features of every tile."""
    parts = []
    for start in range(0, len(study.tiles), batch):
        rows = range(start, min(start + batch, len(study.tiles)))
        tiles = np.stack([decode_tile(data) for data in study.tile_bytes(rows)])
        parts.append(yardstick.features(tiles))
    return np.concatenate(parts)
