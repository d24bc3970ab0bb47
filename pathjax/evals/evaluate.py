"""Models x tasks: audit, embed, probe, write; the base and the tuned alike.

    candidates -> audit -> embeddings (cached .h5) -> run_task -> results.json

Nothing is scored before every task has been checked and every model audited.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.data.images import decode_tile
from pathjax.data.study import Study
from pathjax.evals import yardstick
from pathjax.evals.audit import audit
from pathjax.evals.cache import cached, cached_embeddings, identity
from pathjax.evals.joint import is_contrastive, joint_embeddings
from pathjax.evals.results import make_entry, read_results, write_results
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task, validate_all
from pathjax.model_file import Model, load_model

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
    study: Study,
    tasks: Sequence[Task],
    out: Path,
    *,
    allow_overlap: Collection[str] = (),
    progress: Callable[[int, str], None] | None = None,
    **options: Any,
) -> Path:
    """Measures models on tasks and writes OUT/results.json.

    Results of the same model files are kept, so that a killed evaluation goes on.

    Args:
      candidates: bases and tuned models.
      study: the study of all tasks.
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
    validate_all(list(tasks), {study.name: study})
    names = {one.name for one in candidates}
    orphans = [one.label for one in candidates if one.base and one.base not in names]
    if orphans:
        raise ValueError(f"{', '.join(orphans)} name a base that is not among {names}")
    models = {
        one: None if one.path == YARDSTICK else load_model(one.path)
        for one in candidates
    }
    audits = {
        one: _audit(one, model, study, tasks, allow_overlap)
        for one, model in models.items()
    }
    progress = progress or (lambda done, note: None)
    done_before = _finished(out)
    for place, (one, model) in enumerate(models.items()):
        which = _identity(one)
        asked = [
            task
            for task in tasks
            if task.kind != "retrieval" or (model and is_contrastive(model))
        ]
        missing = [
            task
            for task in asked
            if (one.name, one.seed, task.name, study.fingerprint, which)
            not in done_before
        ]
        if not missing:
            progress(place + 1, f"{one.label}: there already")
            continue
        progress(place, f"{one.label}: embedding")
        features = _features(one, model, which, study, out)
        joint = None
        if any(task.kind == "retrieval" for task in missing):
            joint = joint_embeddings(model, study)
        rows = []
        for task in missing:
            progress(place, f"{one.label}: {task.name}")
            if task.kind == "retrieval":
                outcome = run_task(task, study, joint[0], partner=joint[1], **options)
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
            rows.append((entry, outcome))
        write_results(out, rows)
    progress(len(models), "done")
    return out / "results.json"


def _identity(one: Candidate) -> str:
    """Which parameters these are."""
    return YARDSTICK if one.path == YARDSTICK else identity(one.path)


def _finished(out: Path) -> set[tuple]:
    """What an earlier run of the same command has written already."""
    if not (out / "results.json").exists():
        return set()
    return {
        (e["model"], e["seed"], e["task"], e["study_fingerprint"], e["checkpoint"])
        for e in read_results(out).entries
    }


def _audit(one, model, study, tasks, allow_overlap) -> dict[str, dict]:
    history = model.meta["audit"] if model else []
    tests = {}
    for task in tasks:
        rows = study.tiles.iloc[study.fold_tiles(task.split, task.test)]
        tests[task.name] = (rows, study.split(task.split).shared_patients)
    if model is None:  # colours and textures were trained on nobody
        return {name: {"status": "untrained"} for name in tests}
    return audit(one.label, history, tests, allow_overlap)


def _features(
    one: Candidate, model: Model | None, which: str, study: Study, out: Path
) -> Float[np.ndarray, "T E"]:
    """Embeddings of all tiles, from the cache when the model is the same."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{study.name}-{one.label}")
    path = out / "embeddings" / f"{name}.h5"
    if model is None:
        return cached(path, which, study, lambda: _yardstick(study))
    return cached_embeddings(path, model, which, study)


def _yardstick(study: Study, batch: int = 64) -> Float[np.ndarray, "T 18"]:
    """The 18 colour and texture features of every tile."""
    parts = []
    for start in range(0, len(study.tiles), batch):
        rows = range(start, min(start + batch, len(study.tiles)))
        tiles = np.stack([decode_tile(data) for data in study.tile_bytes(rows)])
        parts.append(yardstick.features(tiles))
    return np.concatenate(parts)
