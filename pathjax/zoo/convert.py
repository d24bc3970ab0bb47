"""Public weights to parameters of our ViT and back, in NumPy.

    names and arrays of a file -> `from_state` -> params, and the config at its grid
    params -> `to_state` -> names and arrays of a file

A linear's weight is transposed, the patch convolution `[D, 3, p, p]` becomes a matrix
`[p*p*3, D]`; nothing is rounded, so that both ways are exact. The one sum is where a
file has a position for CLS and registers without positions: it goes into `cls_token`,
as timm has it (`layouts.py`). Reading files is `weights.py`'s.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from pathjax.models.variants import ViTConfig
from pathjax.zoo.layouts import (
    Dialect,
    clean_names,
    dialects,
    expand,
    is_folded,
    param_shapes,
    recognise,
    their_shapes,
)

State = Mapping[str, np.ndarray]
SHOWN = 3  # names of a kind in an error


class ConvertError(ValueError):
    """Tensors that are not this model's; the message counts all and names the first."""


@dataclasses.dataclass(frozen=True)
class Converted:
    """An encoder from public weights.

    Attributes:
      params: nested dict of float32 arrays, blocks apart; they may be views.
      config: the one given, with `image_px` at the grid of the file's positions.
      dialect: how the file names its tensors (`layouts.py`).
      dropped: names of its tensors that are no part of the encoder.
    """

    params: dict[str, Any]
    config: ViTConfig
    dialect: str
    dropped: tuple[str, ...]


def from_state(state: State, config: ViTConfig, layout: str) -> Converted:
    """Reads an encoder from the tensors of a file.

    Args:
      state: name to array, as in the file; wrappers' prefixes are stripped.
      config: the encoder that the file should hold.
      layout: "timm", "hf_vit" or "hf_dinov2".

    Raises:
      ConvertError: tensors are missing, unexpected or of another shape.
      ValueError: an unknown layout.
    """
    clean, dropped = clean_names(state)
    named = {new: state[old] for old, new in clean.items()}
    dialect = recognise(layout, {name: x.shape for name, x in named.items()}, config)
    config = follow_grid(named, config, dialect)
    require_fit(named, config, dialect)
    flat = {}
    for path, names in expand(dialect, config).items():
        parts = [np.asarray(named[name], np.float32) for name in names]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if path == "patch_embed/kernel":  # (D, 3, p, p): rows, columns, channels
            whole = whole.transpose(2, 3, 1, 0).reshape(-1, len(whole))
        elif path.endswith("/kernel"):
            whole = whole.T
        flat[path] = whole
    if is_folded(dialect, config):
        flat["cls_token"] = flat["cls_token"] + flat["pos_embed"][:, :1]
        flat["pos_embed"] = flat["pos_embed"][:, 1:]
    params = unflatten_dict({tuple(path.split("/")): x for path, x in flat.items()})
    return Converted(params, config, dialect.name, dropped)


def to_state(
    params: dict[str, Any], config: ViTConfig, layout: str, dialect: str | None = None
) -> dict[str, np.ndarray]:
    """Names and arrays of an encoder in a layout; `from_state` undoes it bit for bit.

    Args:
      params: of a plain encoder, blocks apart (`models.blocks.to_plain`).
      dialect: of the layout; its first, the one in published files, if left.

    Raises:
      ConvertError: parameters are missing, unexpected or of another shape, or the
        layout has no name for some of them.
      ValueError: an unknown layout or dialect.
    """
    chosen = dialects(layout)[0]
    if dialect is not None:
        known = {one.name: one for one in dialects(layout)}
        if dialect not in known:
            raise ValueError(f"dialect={dialect!r}: expected one of {', '.join(known)}")
        chosen = known[dialect]
    flat = {"/".join(path): np.asarray(x) for path, x in flatten_dict(params).items()}
    names = expand(chosen, config)
    problems = differences({n: x.shape for n, x in flat.items()}, param_shapes(config))
    nameless = [path for path in param_shapes(config) if path not in names]
    if nameless:
        problems.append(f"without a name in {chosen.name}: {compress(nameless)}")
    if problems:
        raise ConvertError("cannot write this encoder: " + "; ".join(problems))
    if is_folded(chosen, config):
        # All of the sum stays in the token, so that it can be taken apart exactly.
        nothing = np.zeros_like(flat["cls_token"])
        flat["pos_embed"] = np.concatenate([nothing, flat["pos_embed"]], axis=1)
    state = {}
    for path, theirs in names.items():
        whole = flat[path]
        if path == "patch_embed/kernel":
            square = (config.patch, config.patch, 3, config.width)
            whole = whole.reshape(square).transpose(3, 2, 0, 1)
        elif path.endswith("/kernel"):
            whole = whole.T
        for name, part in zip(theirs, np.split(whole, len(theirs)), strict=True):
            state[name] = np.ascontiguousarray(part)
    return state


def follow_grid(named: State, config: ViTConfig, dialect: Dialect) -> ViTConfig:
    """The config at the grid that the file has positions for, if that is a square.

    One model is around at several grids (kaiko's L/14 at 37 x 37 and 16 x 16), and
    positions are resized at forward, never in the file.
    """
    positions = named.get(expand(dialect, config)["pos_embed"][0])
    if positions is None or positions.ndim != 3:
        return config  # `require_fit` says so
    prefix = 0 if config.no_embed_class else 1 + config.registers
    patches = positions.shape[1] - prefix - is_folded(dialect, config)
    side = math.isqrt(max(patches, 0))
    if side == 0 or side**2 != patches:
        return config
    return config.replace(image_px=side * config.patch)


def require_fit(named: State, config: ViTConfig, dialect: Dialect) -> None:
    """Refuses tensors that are not those of this encoder.

    Raises:
      ConvertError: counts and first names of what is missing, unexpected or of
        another shape.
    """
    wanted = their_shapes(dialect, config)
    problems = differences({name: x.shape for name, x in named.items()}, wanted)
    nameless = [
        path for path in param_shapes(config) if path not in expand(dialect, config)
    ]
    if nameless:
        problems.append(f"without a name in {dialect.name}: {compress(nameless)}")
    if problems:
        raise ConvertError(
            f"expected the {len(wanted)} tensors of the model under {dialect.name}'s "
            f"names, got {'; '.join(problems)}. Import the file as the model it belongs "
            "to (see `pathjax models`)"
        )


def differences(
    found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> list[str]:
    """What is missing, unexpected and mis-shaped, a sentence each."""
    misshaped: dict[str, list[str]] = {}
    for name in [one for one in wanted if one in found]:
        if found[name] != wanted[name]:
            shapes = f"{list(found[name])}, expected {list(wanted[name])}"
            misshaped.setdefault(shapes, []).append(name)
    groups = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
    }
    problems = [
        f"{len(names)} {kind}: {compress(names)}"
        for kind, names in groups.items()
        if names
    ]
    if misshaped:
        each = [f"{compress(ns, 1)} {shapes}" for shapes, ns in misshaped.items()]
        more = [f"... ({len(each) - SHOWN} more)"] if len(each) > SHOWN else []
        each = ", ".join(each[:SHOWN] + more)
        count = sum(map(len, misshaped.values()))
        problems.append(f"{count} of another shape: {each}")
    return problems


def compress(names: Iterable[str], shown: int = SHOWN) -> str:
    """The first few names, blocks in runs: "blocks.{0-23}.ls1.gamma, ... (12 more)"."""
    runs: dict[tuple[str, str], list[int]] = {}
    for name in names:
        place = re.search(r"(?<![0-9A-Za-z])\d+(?![0-9A-Za-z])", name.replace("_", "."))
        if place is None:
            runs[name, ""] = []
        else:
            key = name[: place.start()], name[place.end() :]
            runs.setdefault(key, []).append(int(place.group()))
    words = []
    for (before, after), numbers in runs.items():
        text = _ranges(sorted(set(numbers)))
        words.append(f"{before}{text}{after}")
    more = [f"... ({len(words) - shown} more)"] if len(words) > shown else []
    return ", ".join(words[:shown] + more)


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] to "{0-2,5}", [3] to "3"."""
    if len(numbers) < 2:
        return "".join(map(str, numbers))
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    texts = [str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts]
    return "{" + ",".join(texts) + "}"
