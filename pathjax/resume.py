"""Whether a folder holds this very run, so that it may go on from its checkpoint."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from pathjax.config import ConfigError, flat_keys
from pathjax.data.expression import require_same_genes

# Keys that change how a run is done, not what it computes: free on resume.
FREE_KEYS = ("name", "log.", "checkpoint.", "data.threads", "data.buffer", "mesh.")


def require_same_run(meta: dict, fixed: dict, workdir: Path) -> None:
    """Refuses to resume a run with another config, gene list or study.

    Raises:
      ConfigError: naming each key that differs.
      GeneListError: the gene lists differ.
    """
    found, wanted = ConfigDict(meta["config"]), ConfigDict(fixed["config"])
    keys = sorted(set(flat_keys(found)) | set(flat_keys(wanted)))
    differing = []
    for key in keys:
        if key.startswith(FREE_KEYS) or key == "study":
            continue
        there, here = _lookup(found, key), _lookup(wanted, key)
        if there != here:
            differing.append(f"{key}: {there!r} there, {here!r} here")
    if meta["study"] != fixed["study"]:
        differing.append(f"study: {meta['study']} there, {fixed['study']} here")
    if meta["panel"] and fixed["panel"]:
        require_same_genes(
            meta["panel"]["genes"], fixed["panel"]["genes"], str(workdir)
        )
    if differing:
        raise ConfigError(
            f"another run lies in {workdir}:\n  - " + "\n  - ".join(differing) + "\n"
            "Resume with what it was begun with, or choose another --workdir"
        )


def _lookup(config: ConfigDict, key: str) -> Any:
    node = config
    for part in key.split("."):
        if not isinstance(node, ConfigDict) or part not in node:
            return None
        node = node[part]
    return list(node) if isinstance(node, tuple) else node
