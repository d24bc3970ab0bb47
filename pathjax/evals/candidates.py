"""The models to be measured, and the hashes of all that a result depends on.

A result is kept while its inputs are the same: weights, the base's weights, the study's
files as they are on disk, task, protocol, and the code of one's own metric and protocol.
Nothing is embedded or scored here.
"""

import collections
import dataclasses
import hashlib
import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pathjax.data.study import Study, listing, sha256
from pathjax.embeddings.cache import identity, weights_file
from pathjax.embeddings.shared_space import vectors_file
from pathjax.evals import EvalError
from pathjax.evals.results import read_results
from pathjax.evals.tasks import Task
from pathjax.models.blend import blended
from pathjax.models.model_file import parameters_sha256, read_meta
from pathjax.registry import source_hashes
from pathjax.stats.metrics import find_metric

log = logging.getLogger(__name__)

PERMUTED, SHUFFLED = "permuted labels", "shuffled pairs"  # controls, see `control_of`
CONTINUED = "more self-supervision"
HANDCRAFTED = "handcrafted"
PIXELS = "pixels"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One model to be measured.

    Attributes:
      name: Row of the table; the same for all seeds of a model.
      path: Run folder or model file; "handcrafted" for colour and texture features,
        "pixels" for principal components of pixels.
      base: Name of the model it was tuned from.
      seed: Its fine-tuning seed.
      control: A control, by the words of `control_of`, or PERMUTED, whose embeddings are
        dealt to other patients before anything is chosen or fitted; "" for others.
    """

    name: str
    path: str
    base: str | None = None
    seed: int | None = None
    control: str = ""

    @property
    def label(self) -> str:
        return self.name if self.seed is None else f"{self.name} (seed {self.seed})"

    @property
    def baseline(self) -> str:
        """The name of features without a model; "" for a model."""
        return self.path if self.path in (HANDCRAFTED, PIXELS) else ""

    @property
    def identity(self) -> str:
        """Which parameters these are."""
        return self.baseline or identity(self.path)


def parse_candidate(text: str) -> Candidate:
    """Reads `NAME[:BASE][@SEED]=PATH`.

    Raises:
      EvalError: It has another form.
    """
    match = re.fullmatch(r"([^:@=]+)(?::([^:@=]+))?(?:@(\d+))?=(.+)", text)
    if not match:
        raise EvalError(
            f"expected NAME=PATH for a base and NAME:BASE@SEED=PATH for a tuned model, "
            f"got {text!r}"
        )
    name, base, seed, path = match.groups()
    return Candidate(name, path, base, None if seed is None else int(seed))


def expand_blend(candidate: Candidate) -> list[Candidate]:
    """A candidate for each alpha of a folder of `pathjax blend`; else the candidate.

    Their names end with `alpha 0.3`, by which the report draws them as one line.
    """
    models = blended(candidate.path)
    return [
        dataclasses.replace(
            candidate, name=f"{candidate.name} alpha {alpha:g}", path=str(path)
        )
        for alpha, path in models.items()
    ] or [candidate]


def control_of(meta: Mapping[str, Any]) -> str:
    """What a tuned model is a control for, by its own file; "" for others.

    Tuned with the expression of other patients, or without any from a model.
    """
    config = meta.get("config") or {}
    if config.get("data", {}).get("pairing") == "shuffled":
        return SHUFFLED
    alone = config.get("objective", {}).get("name") == "dino"
    return CONTINUED if alone and meta.get("lineage") else ""


def with_controls(
    candidates: Sequence[Candidate], asked: Collection[str] = ()
) -> list[Candidate]:
    """The candidates; models that are controls are named so, and rows that are asked for.

    Args:
      candidates: As given; again, as returned.
      asked: "permuted", a row for each base with permuted labels; "handcrafted".
    """
    named = []
    for one in candidates:
        found = ""
        if one.base and not one.baseline and not one.control:
            found = control_of(read_meta(one.path))
        name = one.name
        if found == SHUFFLED and not name.endswith(f"({SHUFFLED})"):
            name = f"{name} ({SHUFFLED})"
        named.append(dataclasses.replace(one, name=name, control=one.control or found))
    if "permuted" in asked:
        named += [
            dataclasses.replace(one, name=f"{one.name} ({PERMUTED})", control=PERMUTED)
            for one in named
            if one.base is None and not one.baseline and not one.control
        ]
    if HANDCRAFTED in asked and not any(one.baseline == HANDCRAFTED for one in named):
        named.append(Candidate(HANDCRAFTED, HANDCRAFTED))
    return named


Inputs = dict[str, Any]
# Inputs that models of one table must share, and their names in messages.
SHARED = {
    "study": "the study's fingerprint",
    "files": "files of the study",
    "task": "the task's declaration",
    "protocol": "the protocol",
    "code": "the code of one's own metric or protocol",  # absent if both are shipped
}
NAMES = SHARED | {
    "weights": "the weights",
    "base": "the base",
    "base_weights": "the base's weights",
    "lineage": "the lineage",
    "control": "the control",
    "vectors": "the vectors of samples",
}


def weights_of(candidates: Sequence[Candidate]) -> dict[Candidate, str]:
    """SHA-256 of each model file.

    Raises:
      EvalError: A name and seed is given twice, or two seeds have the same parameters.
      ModelFileError: A file is no model.
    """
    weights: dict[Candidate, str] = {}
    counts = collections.Counter((one.name, one.seed) for one in candidates)
    repeated = [one for one in candidates if counts[one.name, one.seed] > 1]
    problems = [
        f"{label} is given {count} times"
        for label, count in collections.Counter(one.label for one in repeated).items()
    ]
    first: dict[tuple[str, str], Candidate] = {}
    for candidate in dict.fromkeys(candidates):
        if candidate.baseline:
            weights[candidate] = candidate.baseline
            continue
        read_meta(candidate.path)  # says what is wrong with it
        weights[candidate] = sha256(weights_file(candidate.path))
        key = candidate.name, parameters_sha256(candidate.path)
        other = first.setdefault(key, candidate)
        if other.seed != candidate.seed:
            problems.append(
                f"{other.label} and {candidate.label} have the same parameters"
            )
    if problems:
        raise EvalError(
            f"expected another model for each name and seed: {listing(problems)}"
        )
    return weights


def history_of(
    candidate: Candidate,
    candidates: Sequence[Candidate],
    weights: Mapping[Candidate, str],
) -> list[dict[str, Any]]:
    """What a model was trained on, by its own file and by those of its ancestors.

    Ancestors among the candidates are found by the hashes in its lineage, and as the
    base that it is said to be tuned from.
    """
    meta = read_meta(candidate.path)
    history = list(meta["audit"])
    lineage = {parent["sha256"] for parent in meta.get("lineage", ())}
    for other in candidates:
        ancestor = weights[other] in lineage or other.name == candidate.base
        if ancestor and not other.baseline:
            stages = read_meta(other.path)["audit"]
            history += [stage for stage in stages if stage not in history]
    return history


def require_unchanged(candidate: Candidate, weights: Mapping[Candidate, str]) -> None:
    """Refuses a model file that was replaced since `weights_of`, after it was loaded."""
    if sha256(weights_file(candidate.path)) != weights[candidate]:
        raise EvalError(
            f"{candidate.path} was replaced during the evaluation: run it again"
        )


def all_inputs(
    candidates: Sequence[Candidate],
    tasks: Sequence[Task],
    studies: Mapping[str, Study],
    weights: Mapping[Candidate, str],
    options: Mapping[str, Any],
    vectors: Path | None = None,
) -> dict[tuple[Candidate, str], Inputs]:
    """The inputs of each candidate and task, as results.json records them.

    Raises:
      EvalError: A file of vectors is missing, or is given and no model reads it.
    """
    files = {
        (task.study, task.split): studies[task.study].hashes(task.split)
        for task in tasks
    }
    code = {task.name: _code(task, options) for task in tasks}
    metas = {one: {} if one.baseline else read_meta(one.path) for one in candidates}
    tables = {one: _vectors(one, meta, vectors) for one, meta in metas.items()}
    if vectors and not any(tables.values()):
        raise EvalError(f"--vectors {vectors}: none of the models reads vectors")
    found = {}
    for candidate in candidates:
        base = [one for one in candidates if one.name == candidate.base]
        meta = metas[candidate]
        lineage = [parent["sha256"] for parent in meta.get("lineage", ())]
        own = {
            "weights": weights[candidate],
            "base": candidate.base,
            "base_weights": sorted({weights[one] for one in base}),
            "lineage": lineage,
            **({"control": candidate.control} if candidate.control else {}),
        }
        if "lineage" in meta and base and not {weights[b] for b in base} & set(lineage):
            log.warning(
                "%s was not tuned from these weights of %s, so its delta is not the "
                "effect of tuning alone",
                *(candidate.label, candidate.base),
            )
        for task in tasks:
            found[candidate, task.name] = own | {
                "study": studies[task.study].fingerprint,
                "files": files[task.study, task.split],
                "task": _hash(task.declared),
                "protocol": _protocol_hash(task, options),
                **({"code": code[task.name]} if code[task.name] else {}),
            }
            if tables[candidate] and task.kind == "retrieval":
                found[candidate, task.name]["vectors"] = tables[candidate]
    return found


def _vectors(candidate: Candidate, meta: dict, vectors: Path | None) -> str:
    """SHA-256 of the vectors that a model reads; "" if it reads none."""
    path = vectors_file(meta, vectors) if meta else None
    if path is None:
        return ""
    if not path.is_file():
        raise EvalError(
            f"{candidate.label} embeds vectors of samples, and {path} is not there: name "
            "the file by --vectors"
        )
    return sha256(path)


def _code(task: Task, options: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 by module of one's own metric and protocol; empty if both are shipped."""
    protocol = task.find_protocol(**options)
    found = source_hashes(task.protocol_name, protocol)
    for metric in task.metric_names(protocol):
        found |= source_hashes(metric, find_metric(metric))
    return found


def _protocol_hash(task: Task, options: Mapping[str, Any]) -> str:
    protocol = task.find_protocol(**options)
    kind = type(protocol.probe)
    return _hash([kind.__module__, kind.__qualname__, dataclasses.asdict(protocol)])


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def done_before(
    out: Path, inputs: Mapping[tuple[Candidate, str], Inputs]
) -> set[tuple[Candidate, str]]:
    """Candidates and tasks with a result in OUT on these very inputs.

    Raises:
      EvalError: OUT has results of other models on other inputs, with which the new
        ones cannot be compared.
    """
    done: set[tuple[Candidate, str]] = set()
    if not (Path(out) / "results.json").exists():
        return done
    mine = {(one.name, one.seed, task): (one, task) for one, task in inputs}
    tasks = {task: values for (_, task), values in inputs.items()}
    weights: dict[str, set[str]] = {}
    for (one, _), values in inputs.items():
        weights.setdefault(one.name, set()).add(values["weights"])
    refused, old = [], []
    for entry in read_results(out).entries:
        place = entry["model"], entry["seed"], entry["task"]
        label = f"{Candidate(place[0], '', seed=place[1]).label}, {place[2]}"
        known = entry.get("inputs")
        if place in mine:
            changed = _changed(known, inputs[mine[place]]) or _rows_changed(out, entry)
            if changed:
                log.info("%s is computed again: %s", label, changed)
            else:
                done.add(mine[place])
        elif entry["task"] in tasks and known is None:
            old.append(label)
        elif entry["task"] in tasks:
            values = tasks[entry["task"]]
            expected = {key: values[key] for key in SHARED if key in values}
            if entry["base"] in weights:
                expected["base_weights"] = sorted(weights[entry["base"]])
            if changed := _changed(known, expected):
                refused.append(f"{label}: {changed}")
    if old:
        log.warning(
            "%s has %d results of an earlier version, which did not record what they "
            "depend on, first %s: whether they are of the same inputs is unknown",
            *(out, len(old), old[0]),
        )
    if refused:
        raise EvalError(
            f"{out} has results of other models on other inputs: {listing(refused)}. "
            "Evaluate those models again together with these, or choose another --out"
        )
    return done


def _rows_changed(out: Path, entry: dict[str, Any]) -> str:
    path = Path(out) / (entry["predictions"] or "")
    if entry.get("predictions_sha256") == (sha256(path) if path.is_file() else None):
        return ""
    return "its predictions are not those that were written with it"


def _changed(known: Inputs | None, expected: Inputs) -> str:
    """What differs, in words; "" if nothing does."""
    if known is None:
        return "an earlier version did not record what it depends on"
    changed = []
    for key in (key for key, value in expected.items() if known.get(key) != value):
        if key not in ("files", "code"):
            changed.append(NAMES[key])
            continue
        old, new = known.get(key, {}), expected[key]
        names = sorted(n for n in {*old, *new} if old.get(n) != new.get(n))
        of = "the code of " if key == "code" else ""
        changed += [f"{of}{name}" for name in names]
    return f"{', '.join(changed)} changed" if changed else ""
