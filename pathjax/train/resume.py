"""The folder of a run: always the same run.

A run is identified by its config, genes, study, weights to start from, and the options
and code of its objective. It may resume on other devices and processes than it was
started with: a checkpoint holds whole arrays, and the position in the data is the number
of global batches consumed.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from pathjax.config import ConfigError, RunConfig, flatten
from pathjax.data.expression import require_same_genes
from pathjax.models.model_file import FILE, read_meta

# Keys that change how a run is done, not what it computes: free on resume.
FREE_KEYS = ("name", "log.", "checkpoint.", "data.threads", "data.buffer", "mesh.")

# Paths, which are compared by content.
PATHS = ("study", "data.text", "init")
OPTION = "objective."  # before an option's name, as in the config

log = logging.getLogger(__name__)


def layout(mesh: Mesh) -> dict[str, Any]:
    """What a run is computed on; part of every checkpoint."""
    return {
        "processes": jax.process_count(),
        "devices": mesh.size,
        **mesh.shape,
        "platform": mesh.devices.flat[0].platform,
    }


def comparable(record: dict[str, Any]) -> dict[str, Any]:
    """What the processes of a run must have in common, by name; from its record."""
    named = {f"config.{k}": v for k, v in flatten(record["config"]).items()}
    for key in PATHS:
        del named[f"config.{key}"]
    panel = json.dumps(record["panel"], sort_keys=True).encode()
    return named | {
        **_contents(record),
        "gene panel": f"sha256:{hashlib.sha256(panel).hexdigest()[:16]}",
        **{f"version of {name}": v for name, v in record["versions"].items()},
        **{f"layout.{name}": v for name, v in record["layout"].items()},
    }


def continuation(meta: dict[str, Any], record: dict[str, Any]) -> str:
    """Why a resumed run may differ in its last bits from an uninterrupted one, or ""."""
    changes = [
        f"{part} {name}: {there[name]} there, {here[name]} here"
        for part in ("layout", "versions")
        for there, here in [(meta.get(part, {}), record[part])]
        for name in here
        if name in there and there[name] != here[name]
    ]
    if not changes:
        return ""
    return (
        f"resuming from step {meta['step']}, saved elsewhere ({'; '.join(changes)}). "
        "Parameters, optimiser and the position in the data are exactly those saved; "
        "sums are now computed in another order, so the next steps may differ in their "
        "last bits from those of an uninterrupted run"
    )


def require_same_run(meta: dict, record: dict, workdir: Path) -> None:
    """Refuses to resume a run with another config, genes, study, start or objective.

    Checkpoints of earlier versions do not have all entries; what they lack cannot be
    compared, and is logged.

    Raises:
      ConfigError: Naming each key that differs.
      StudyError: The gene lists differ.
    """
    # Keys that earlier versions lacked are at their defaults.
    saved = flatten(RunConfig().to_dict()) | flatten(meta["config"])
    given = flatten(record["config"])
    there, here = _contents(meta), _contents(record)
    differing = {
        key: f"{key}: {saved.get(key)!r} there, {given.get(key)!r} here"
        for key in sorted({*saved, *given})
        if not key.startswith(FREE_KEYS) and not (key in PATHS and key in there)
        if saved.get(key) != given.get(key)
    }
    for name, value in here.items():
        if name in there and there[name] != value:
            # A default is named here, an option that was given is in the config.
            differing.setdefault(name, f"{name}: {there[name]} there, {value} here")
    absent = set(here) - set(there)
    if unknown := sorted(
        {"objective options" if n.startswith(OPTION) else n for n in absent}
    ):
        log.warning(
            "%s was written by an earlier version, which did not record %s: whether they "
            "have changed since cannot be checked",
            *(workdir, ", ".join(unknown)),
        )
    if meta["panel"] and record["panel"]:
        require_same_genes(
            meta["panel"]["genes"], record["panel"]["genes"], str(workdir)
        )
    if differing:
        raise ConfigError(
            f"{workdir} holds another run:\n  - "
            + "\n  - ".join(differing.values())
            + "\n"
            "Resume with what it was started with, or choose another --workdir"
        )


def require_no_other_model(workdir: Path, record: dict) -> None:
    """Refuses to train into a folder with the model of another run.

    For a folder without checkpoints: they may have been deleted after the run ended.

    Raises:
      ConfigError: Naming what differs.
      ModelFileError: The model cannot be read.
    """
    if not (workdir / FILE).exists():
        return
    meta = read_meta(workdir)
    if "config" not in meta:
        raise ConfigError(
            f"{workdir / FILE} was not written by a run, and training would overwrite "
            "it: choose another --workdir"
        )
    stage = meta["audit"][-1]
    study = {"name": stage["study"], "fingerprint": stage["fingerprint"]}
    about = {"study": study, "init": {"sha256": parent_of(meta)}}
    # A model file has the options that were given, which are compared with the config.
    own = {key: value for key, value in record.items() if key != "objective_options"}
    require_same_run(meta | about, own, workdir)
    log.warning(
        "%s has no checkpoints but a model of this run: it is trained again", workdir
    )


def parent_of(meta: dict[str, Any]) -> str | None:
    """SHA-256 of the file that a model was tuned from; "" from scratch, None unknown."""
    if "lineage" not in meta:
        return None
    return meta["lineage"][-1]["sha256"] if meta["init"] else ""


def _contents(record: dict[str, Any]) -> dict[str, Any]:
    """What a run reads and its objective, by the name of its key in the config."""
    contents = {
        "study": f"{record['study']['name']} {record['study']['fingerprint'][:12]}",
        "data.text": describe_text(record),
    }
    digest = record.get("init", {}).get("sha256")
    if digest is not None:
        contents["init"] = f"sha256 {digest[:12]}" if digest else "from scratch"
    if resources := record.get("resources"):
        text = json.dumps(resources, sort_keys=True).encode()
        digest = hashlib.sha256(text).hexdigest()
        contents["files of the objective"] = f"sha256 {digest[:12]}"
    options, code = record.get("objective_options", {}), record.get("code", {})
    return {
        **contents,
        **{
            f"file {name} of the study": f"sha256 {digest[:12]}"
            for name, digest in record.get("files", {}).items()
        },
        **{f"{OPTION}{name}": value for name, value in options.items()},
        **{
            f"code of {module} (objective)": f"sha256 {digest[:12]}"
            for module, digest in code.items()
        },
    }


def describe_text(record: dict[str, Any]) -> str:
    """A description of a run's text embeddings."""
    text = record.get("text")  # absent in checkpoints written before text support
    if not text:
        return "no text"
    return (
        f"{text['dimensions']} values by {text['backend']} {text['model']}, "
        f"{text['fingerprint'][:23]}"
    )
