"""Public weights in, a `model.safetensors` of pathjax out.

    name + FILE -> `locate`, `read_state`, `from_state` -> `save_model` -> OUT

What it leaves can be embedded, probed and named as `config.init` like what a run leaves.
Its meta says where it came from and on what terms, under "foundation"; a run that starts
from it copies that. Whom it was trained on is not known by patient, so its audit history
is empty, which the audit records as unknown and not as clean.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

import pathjax
from pathjax.models.model_file import FILE, Model, save_model
from pathjax.objectives import IMPORTED
from pathjax.zoo.convert import Converted, ConvertError, from_state
from pathjax.zoo.entry import Entry
from pathjax.zoo.registry import get
from pathjax.zoo.weights import Located, WeightsError, digest, locate, read_state


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an import left.

    Attributes:
      path: of model.safetensors.
      model: what is in it.
      dropped: tensors of the file that are no part of the encoder.
    """

    path: Path
    model: Model
    dropped: tuple[str, ...]


def import_model(
    model: str | Entry, weights: str | Path | None, out: str | Path
) -> Imported:
    """Imports a public model.

    Args:
      model: A name of `pathjax models`, `package.module:NAME`, or an entry.
      weights: a local file; the model's own source, over the network, if None.
      out: folder to write model.safetensors to.

    Raises:
      WeightsError: the weights cannot be had or read, or `out` holds a model.
      ConvertError: they are not this model's.
      RegistryError: An unknown name.
    """
    entry = get(model) if isinstance(model, str) else model
    out = Path(out)
    if (out / FILE).exists():
        raise WeightsError(
            f"{out / FILE} is there already: choose another folder, or remove it"
        )
    located = locate(entry, weights)
    try:
        converted = from_state(read_state(located.path), entry.vit, entry.layout)
    except ConvertError as error:
        raise ConvertError(f"{located.path} as {entry.name}: {error}") from error
    imported = Model(
        {"vit": converted.params}, converted.config, meta(entry, located, converted)
    )
    require_finite(imported, located.path)
    return Imported(save_model(out, imported), imported, converted.dropped)


def meta(entry: Entry, located: Located, converted: Converted) -> dict[str, Any]:
    """What travels in the file beside the parameters."""
    resize, crop, interpolation = entry.preprocess
    preprocess = {"resize": resize, "crop": crop, "interpolation": interpolation}
    foundation = {
        "name": entry.name,
        "title": entry.title,
        "licence": entry.licence,
        "licence_url": entry.licence_url,
        "share_derivatives": entry.share_derivatives,
        "pretraining": entry.pretraining,
        "pretrained_on_tcga": entry.pretrained_on_tcga,
        "source": located.source,
        "weights_sha256": digest(located.path),
        "preprocess": preprocess,
        "layout": entry.layout,
        "dialect": converted.dialect,
        "dropped": list(converted.dropped),
        "unknown": list(entry.unknown),
    }
    return {
        "name": entry.name,
        "objective": {"name": IMPORTED},
        "image_px": crop,
        "preprocess": preprocess,
        "foundation": foundation,
        "panel": None,
        "init": None,
        "seed": None,
        "audit": [],
        "versions": {"pathjax": pathjax.__version__},
    }


def require_finite(model: Model, path: str | os.PathLike[str]) -> None:
    """Refuses weights with NaN or infinity, which would only show in embeddings.

    Raises:
      WeightsError: there are some.
    """
    bad = [
        "/".join(name)
        for name, leaf in flatten_dict(model.params["vit"]).items()
        if not np.isfinite(leaf).all()
    ]
    if bad:
        raise WeightsError(
            f"{path} holds numbers that are not finite, in {len(bad)} tensors, first "
            f"{bad[0]}: the file is damaged"
        )
