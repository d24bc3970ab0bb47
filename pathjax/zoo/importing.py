"""Imports public weights: writes a `model.safetensors` of pathjax.

    name + PATH -> `locate`, `read_state`, `from_state` -> `save_model` -> OUT

The result can be embedded, probed and given as `config.init`. Its meta has origin and
licence under "foundation"; a run that starts from it copies that. Which patients it was
trained on is not known, so its audit history is empty, which the audit records as
unknown and not as clean.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

import pathjax
from pathjax.data.preprocess import Preprocess
from pathjax.models.model_file import FILE, IMPORTED, Model, save_model
from pathjax.models.variants import ViTConfig, nearest_multiples
from pathjax.zoo.convert import Converted, State, from_state
from pathjax.zoo.entry import Entry, ZooError
from pathjax.zoo.layouts import DIALECTS
from pathjax.zoo.matching import describe, match
from pathjax.zoo.registry import MODELS, get
from pathjax.zoo.weights import Located, digest, locate, read_state


@dataclasses.dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
      path: Of model.safetensors.
      model: Its content.
      converted: The encoder as it was read from the file.
      checksum: Whether the file is a published one, in words.
    """

    path: Path
    model: Model
    converted: Converted
    checksum: str


def import_model(
    model: str | Entry,
    weights: str | Path | None,
    out: str | Path,
    image_px: int | None = None,
    prefix: str | None = None,
) -> Imported:
    """Imports a public model.

    Args:
      model: A name of `pathjax models`, `package.module:NAME`, or an entry.
      weights: Local file or folder; None downloads from the model's own source.
      out: Folder to write model.safetensors to.
      image_px: Side of the images that the model will be given; None for the
        published one. Position embeddings are resized when it runs.
      prefix: Place of the encoder in a file that has several; None chooses.

    Raises:
      ZooError: The weights cannot be read or are not this model's, or `out` holds a
        model.
      RegistryError: An unknown name.
    """
    entry = get(model) if isinstance(model, str) else model
    out = Path(out)
    if (out / FILE).exists():
        raise ZooError(
            f"{out / FILE} would be overwritten: choose another folder, or remove it"
        )
    preprocess = preprocess_at(entry, image_px)
    located = locate(entry, weights)
    sha256 = digest(located.path)
    checksum = compare_checksum(entry, sha256, located.path)
    state = read_state(located.path)
    try:
        converted = from_state(state, entry.vit, prefix)
    except ZooError as error:
        hint = fitting(state, entry)
        raise ZooError(
            f"{located.path} does not fit {entry.name}: {error}. {hint}"
        ) from None
    vit = converted.config.replace(positions=resizing_rule(entry, converted))
    meta = make_meta(entry, located, converted, preprocess)
    meta["foundation"] |= {"weights_sha256": sha256, "checksum": checksum}
    imported = Model({"vit": converted.params}, vit, meta)
    require_finite(imported, located.path)
    return Imported(save_model(out, imported), imported, converted, checksum)


def compare_checksum(entry: Entry, sha256: str, path: Path) -> str:
    """Whether a file is one that was published, as far as the registry knows.

    Raises:
      ZooError: It is the published file of another model.
    """
    for other in MODELS.values():
        if sha256 in other.sha256 and other.name != entry.name:
            raise ZooError(
                f"{path} has the checksum of the published {other.name}, not of "
                f"{entry.name}: import it as {other.name}"
            )
    if not entry.sha256:
        return "no published checksum is known"
    if sha256 in entry.sha256:
        return "matches a published file"
    return "matches none of the published files that are known"


def preprocess_at(entry: Entry, image_px: int | None) -> dict[str, Any]:
    """The entry's preprocessing, with resize and crop scaled to another input size.

    Raises:
      ZooError: `image_px` is no multiple of the patch.
    """
    preprocess = Preprocess(*entry.preprocess)
    if image_px is not None:
        patch = entry.vit.patch
        if image_px < patch or image_px % patch:
            raise ZooError(
                f"image_px={image_px}: expected a multiple of the patch of "
                f"{entry.name}, {patch}, such as {nearest_multiples(image_px, patch)}"
            )
        preprocess = preprocess.scaled(image_px)
    return dataclasses.asdict(preprocess)


def resizing_rule(entry: Entry, converted: Converted) -> Any:
    """The rule to resize positions of the library that the file was written for.

    transformers runs ViT and Dinov2 with another rule than timm; a model that others
    published there, in an entry of timm's, follows it.
    """
    vit: ViTConfig = entry.vit
    theirs = DIALECTS[converted.dialect].layout != "timm"
    if entry.layout == "timm" and theirs and not vit.registers:
        return "torch"
    return vit.positions


def fitting(state: State, entry: Entry) -> str:
    """What else the file could be, as advice."""
    shapes = {name: array.shape for name, array in state.items()}
    names = []
    known = set(shapes.values())
    for other in MODELS.values():
        patches = (other.vit.width, 3, other.vit.patch, other.vit.patch)
        if other is entry or patches not in known:
            continue
        try:
            fits = not match(shapes, other.vit).problems
        except ZooError:
            return "Pass the file of the encoder"
        names += [other.name] if fits else []
    if names:
        more = f" or {len(names) - 3} others" if len(names) > 3 else ""
        return f"It fits {', '.join(names[:3])}{more}: import it as what it is"
    kind = describe(shapes)
    got = f"The file holds {kind}; import" if kind else "Import"
    return f"{got} it as the model it belongs to (`pathjax models`)"


def make_meta(
    entry: Entry, located: Located, converted: Converted, preprocess: dict[str, Any]
) -> dict[str, Any]:
    """The metadata of the model file."""
    copied = ("name", "title", "licence", "licence_url", "share_derivatives")
    copied += ("pretraining", "pretrained_on_tcga")
    foundation = {
        **{field: getattr(entry, field) for field in copied},
        "source": located.source,
        "preprocess": preprocess,
        "layout": DIALECTS[converted.dialect].layout,
        "dialect": converted.dialect,
        "dropped": list(converted.dropped),
        "unknown": list(entry.unknown),
    }
    return {
        "name": entry.name,
        "objective": {"name": IMPORTED},
        "image_px": preprocess["crop"],
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
      ZooError: There are some.
    """
    flat = flatten_dict(model.params["vit"], sep="/")
    bad = [name for name, leaf in flat.items() if not np.isfinite(leaf).all()]
    if bad:
        raise ZooError(
            f"{path} has values that are not finite in {len(bad)} tensors, first "
            f"{bad[0]}: the file is damaged"
        )
