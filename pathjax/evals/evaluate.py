"""Models x studies x tasks: audit, embed, probe, write; base and tuned alike.

    candidates -> audit -> embeddings (cached .h5) -> run_task -> results.json

Nothing is scored before every task has been checked and every model audited.
"""

import functools
import logging
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.buckets import local
from pathjax.data.deal import deal
from pathjax.data.study import Study, StudyError, sha256
from pathjax.embeddings import handcrafted, pixels
from pathjax.embeddings.cache import cached, cached_rows
from pathjax.embeddings.embedding_file import FileRows
from pathjax.embeddings.shared_space import joint_embeddings, shares_space
from pathjax.evals import EvalError
from pathjax.evals.audit import Record, audit, is_untrained, under_test
from pathjax.evals.candidates import (
    HANDCRAFTED,
    PERMUTED,
    PIXELS,
    Candidate,
    all_inputs,
    done_before,
    history_of,
    require_unchanged,
    weights_of,
    with_controls,
)
from pathjax.evals.results import make_entry, write_results
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task, validate_all
from pathjax.models.model_file import Model, load_model, read_meta
from pathjax.parallel.shard import Shard, held
from pathjax.stats.metric import StatisticsError

log = logging.getLogger(__name__)

BASELINES = {HANDCRAFTED: handcrafted, PIXELS: pixels}


def evaluate(
    candidates: Sequence[Candidate],
    studies: Study | Sequence[Study],
    tasks: Sequence[Task],
    out: Path,
    *,
    allow_overlap: Collection[str] = (),
    progress: Callable[[int, str], None] | None = None,
    vectors: Path | None = None,
    shard: Shard | None = None,
    **options: Any,
) -> Path:
    """Measures models on tasks and writes OUT/results.json.

    A result is written as soon as it is there, with the hashes of all that it depends on
    (candidates.py), and kept as long as they are the same: an interrupted evaluation
    resumes. A task that cannot be scored, as its truth does not vary, is written with
    the reason as `unscored`; the others go on, and the next run tries it again.

    Args:
      candidates: Bases and tuned models.
      studies: Those that the tasks are of.
      tasks: What is asked; retrieval is asked of models that share a space only.
      out: The run folder; embeddings are cached in OUT/embeddings.
      allow_overlap: Tasks whose overlap with training patients is accepted by name.
      progress: Called with (models done, what is being done).
      vectors: For models with the gene tower `external`: the samples' vectors, in place
        of the file of training.
      shard: Does this part of the pairs of a model and a study, embedding and tasks.
        Shards share OUT, and a call without one does what they have not done.
      **options: Of the protocols, such as `seeds=1`; they appear in their names.

    Returns:
      The path of results.json.

    Raises:
      ValueError: A task, model or overlap is refused, OUT has results of other models
        on other inputs, or another process has this shard; before anything is scored.
    """
    by_name: dict[str, Study] = {}
    for study in [studies] if isinstance(studies, Study) else studies:
        other = by_name.setdefault(study.name, study)
        if other is not study:
            raise EvalError(
                f"{other.root} and {study.root} are both called {study.name}: name one"
            )
    validate_all(list(tasks), by_name)
    candidates = with_controls(candidates)
    names, out = {model.name for model in candidates}, local(out)
    orphans = [m.label for m in candidates if m.base and m.base not in names]
    if orphans:
        raise EvalError(
            f"the base of {', '.join(orphans)} is not given; expected one of "
            f"{', '.join(sorted(names))}"
        )
    weights = weights_of(candidates)
    inputs = all_inputs(candidates, tasks, by_name, weights, options, vectors)
    done = done_before(out, inputs)
    audits = _audit_all(candidates, weights, by_name, tasks, allow_overlap)
    progress = progress or (lambda done, note: None)
    file = functools.partial(embeddings_file, out)
    files = [
        file(candidate, by_name[name])
        for candidate in candidates
        for name in dict.fromkeys(task.study for task in tasks)
    ]
    mine = set(shard.items(list(dict.fromkeys(files))) if shard else files)
    if not mine:
        log.warning(
            "shard %s has nothing to do: there are %d pairs of a model and a study",
            *(shard, len(set(files))),
        )
    order = [(one.name, one.seed, task.name) for one in candidates for task in tasks]
    with held(out / ".shards", shard, EvalError):
        for place, candidate in enumerate(candidates):
            for study in by_name.values():
                missing = [
                    task
                    for task in tasks
                    if task.study == study.name
                    and (candidate, task.name) not in done
                    and file(candidate, study) in mine
                ]
                # A study is embedded once; a model is loaded when something is missing.
                model = None
                if missing and not candidate.baseline:
                    model = load_model(candidate.path)
                    require_unchanged(candidate, weights)
                # Retrieval needs images and expression in one space.
                retrieval = any(task.kind == "retrieval" for task in missing)
                if retrieval and (model is None or not shares_space(model)):
                    missing = [task for task in missing if task.kind != "retrieval"]
                if not missing:
                    continue
                progress(place, f"{candidate.label}: embedding {study.name}")
                features, joint = features_of(candidate, model, study, out), None
                for task in missing:
                    progress(place, f"{candidate.label}: {task.name}")
                    who: dict[str, Any] = {
                        "model": candidate.name,
                        "base": candidate.base,
                        "seed": candidate.seed,
                    }
                    try:
                        if task.kind == "retrieval" and model is not None:
                            image, partner = joint = joint or joint_embeddings(
                                model, study, vectors=vectors
                            )
                            outcome = run_task(
                                *(task, study, _dealt(candidate, image, study)),
                                partner=partner,
                                **options,
                            )
                        else:
                            outcome = run_task(task, study, features, **options)
                    except (EvalError, StatisticsError, StudyError) as error:
                        about = {"task": task.name, "study": study.name}
                        write_results(
                            out, [], [who | about | {"reason": str(error)}], order
                        )
                        continue
                    entry = make_entry(
                        outcome,
                        checkpoint=candidate.identity,
                        audit=audits[candidate][task.name],
                        control=candidate.control,
                        inputs=inputs[candidate, task.name],
                        **who,
                    )
                    write_results(out, [(entry, outcome)], order=order)
            progress(place + 1, candidate.label)
    return out / "results.json"


def open_studies(paths: Sequence[str | Path]) -> list[Study]:
    """The studies in the folders named: each is one, or contains some.

    Raises:
      EvalError: A folder is no study and contains none.
    """
    studies = []
    for path in map(local, paths):
        inside = [path] if (path / "study.json").exists() else sorted(path.glob("*/"))
        whole = [folder for folder in inside if (folder / "study.json").exists()]
        if not whole:
            raise EvalError(
                f"{path}: expected a folder with study.json, or one whose folders have "
                "it; `pathjax data` builds them"
            )
        studies += [Study(folder) for folder in whole]
    return studies


def _audit_all(
    candidates, weights, studies, tasks, allow_overlap
) -> dict[Candidate, dict[str, Record]]:
    """Every model's record of every task; refuses before anything is computed."""
    tests = {task.name: under_test(task, studies[task.study]) for task in tasks}
    records = {}
    for candidate in candidates:
        meta = {} if candidate.baseline else read_meta(candidate.path)
        if candidate.baseline or is_untrained(meta):
            records[candidate] = {name: {"status": "untrained"} for name in tests}
            continue
        seen = meta.get("foundation", {}).get("pretrained_on_tcga")
        history = history_of(candidate, candidates, weights)
        records[candidate] = audit(candidate.label, history, tests, allow_overlap, seen)
    return records


def embeddings_file(out: Path, candidate: Candidate, study: Study) -> Path:
    """Where a study's embeddings by a model are; with permuted labels they are shared."""
    label = candidate.label.replace(f" ({PERMUTED})", "")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{study.name}-{label}")
    return out / "embeddings" / f"{name}.h5"


def features_of(
    candidate: Candidate, model: Model | None, study: Study, out: Path
) -> Float[np.ndarray, "T E"] | FileRows:
    """Embeddings of all tiles, from the cache in OUT when the model is the same.

    Args:
      candidate: Whose; with permuted labels it has the tiles of other patients.
      model: Its model, None for features without one.
      study: Whose tiles.
      out: The run folder.
    """
    path = embeddings_file(out, candidate, study)
    if model is not None:
        rows = cached_rows(path, model, candidate.identity, study)
        return _dealt(candidate, rows, study)
    # By the code that computes them, which may change between versions.
    module = BASELINES[candidate.baseline]
    name = f"{candidate.identity} {sha256(Path(str(module.__file__)))[:16]}"
    return cached(path, name, study, lambda: module.tile_features(study))


def _dealt(candidate: Candidate, features, study: Study):
    """Permuted labels: each patient has another's embeddings, for all that follows."""
    if candidate.control != PERMUTED:
        return features
    return features[deal(study.tiles["patient_id"].astype(str).to_numpy(), 0)]
