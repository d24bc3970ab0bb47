"""Whether a folder holds this very run, so that it can resume from its checkpoint.

A run may resume on other devices and processes than it was started with: a checkpoint
holds whole arrays, and the position in the data is the number of global batches consumed.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from pathjax.config import ConfigError, flatten
from pathjax.data.expression import require_same_genes

# Keys that change how a run is done, not what it computes: free on resume.
FREE_KEYS = ("name", "log.", "checkpoint.", "data.threads", "data.buffer", "mesh.")

# Paths, which are compared by content.
PATHS = ("study", "data.text")


def layout(mesh: Mesh) -> dict[str, Any]:
    """What a run is computed on; part of every checkpoint."""
    return {
        "processes": jax.process_count(),
        "devices": mesh.size,
        **mesh.shape,
        "platform": mesh.devices.flat[0].platform,
    }


def comparable(record: dict[str, Any], init: str = "") -> dict[str, Any]:
    """What the processes of a run must have in common, by name.

    Args:
      record: Config, panel, study, versions and layout, as in a checkpoint.
      init: Identifies the parameters that the run starts from.
    """
    named = {f"config.{k}": v for k, v in flatten(record["config"]).items()}
    for key in PATHS:
        del named[f"config.{key}"]
    panel = json.dumps(record["panel"], sort_keys=True).encode()
    return named | {
        "study": f"{record['study']['name']} {record['study']['fingerprint']}",
        "text": describe_text(record),
        "gene panel": f"sha256:{hashlib.sha256(panel).hexdigest()[:16]}",
        "init": init,
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
    """Refuses to resume a run with another config, gene list or study.

    Raises:
      ConfigError: Naming each key that differs.
      StudyError: The gene lists differ.
    """
    saved, given = flatten(meta["config"]), flatten(record["config"])
    differing = [
        f"{key}: {saved.get(key)!r} there, {given.get(key)!r} here"
        for key in sorted({*saved, *given})
        if not key.startswith(FREE_KEYS) and key not in PATHS
        if saved.get(key) != given.get(key)
    ]
    for name, there, here in (
        ("study", meta["study"], record["study"]),
        ("data.text", describe_text(meta), describe_text(record)),
    ):
        if there != here:
            differing.append(f"{name}: {there} there, {here} here")
    if meta["panel"] and record["panel"]:
        require_same_genes(
            meta["panel"]["genes"], record["panel"]["genes"], str(workdir)
        )
    if differing:
        raise ConfigError(
            f"{workdir} holds another run:\n  - " + "\n  - ".join(differing) + "\n"
            "Resume with the config it was started with, or choose another --workdir"
        )


def describe_text(record: dict[str, Any]) -> str:
    """A description of a run's text embeddings."""
    text = record.get("text")  # absent in checkpoints written before text support
    if not text:
        return "no text"
    return (
        f"{text['dimensions']} values by {text['backend']} {text['model']}, "
        f"{text['fingerprint'][:23]}"
    )
