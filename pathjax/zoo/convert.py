"""Public weights to parameters of our ViT and back, in NumPy.

    names and arrays of a file -> `from_state` -> params, and the config at its grid
    params -> `to_state` -> names and arrays of a file

A linear's weight is transposed, the patch convolution `[D, 3, p, p]` becomes a matrix
`[p*p*3, D]`; nothing is rounded, so that both ways are exact. The one sum is where a
file has a position for CLS and registers without positions: it goes into `cls_token`,
as timm has it (`layouts.py`). Files are read by `tensors.py`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from pathjax.models.variants import ViTConfig
from pathjax.zoo.entry import ZooError
from pathjax.zoo.layouts import DIALECTS, expand, is_folded, param_shapes
from pathjax.zoo.matching import Match, compress, differences, equals, match

State = Mapping[str, np.ndarray]
FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Converted:
    """An encoder from public weights.

    Attributes:
      params: Nested dict of float32 arrays, blocks apart; they may be views.
      config: The one given, with `image_px` at the grid of the file's positions.
      dialect: Naming of the file's tensors (`layouts.py`).
      dropped: Names of its tensors that are no part of the encoder.
      prefix: In front of the encoder's names in the file.
      others: Prefixes of other encoders of this shape, which were not read.
    """

    params: dict[str, Any]
    config: ViTConfig
    dialect: str
    dropped: tuple[str, ...]
    prefix: str = ""
    others: tuple[str, ...] = ()


def from_state(state: State, config: ViTConfig, prefix: str | None = None) -> Converted:
    """Reads an encoder from the tensors of a file, in any dialect.

    Args:
      state: Name to array, as in the file.
      config: The expected encoder.
      prefix: Reads the encoder at this place; None chooses (`matching.py`).

    Raises:
      ZooError: Tensors are missing, unexpected, of another shape or quantised; or the
        file holds several encoders and nothing tells which one to take.
    """
    found = match({name: x.shape for name, x in state.items()}, config, prefix)
    if found.problems:
        raise ZooError(
            f"in the names of {found.dialect.name}, {'; '.join(found.problems)}"
        )
    require_floats({name: state[name] for name in found.names.values()})
    _require_choice(state, found)
    config, flat = found.config, {}
    for path, names in expand(found.dialect, config).items():
        parts = [np.asarray(state[found.names[name]], np.float32) for name in names]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if path == "patch_embed/kernel":  # (D, 3, p, p): rows, columns, channels
            whole = whole.transpose(2, 3, 1, 0).reshape(-1, len(whole))
        elif path.endswith("/kernel"):
            whole = whole.T
        flat[path] = whole
    if is_folded(found.dialect, config):
        flat["cls_token"] = flat["cls_token"] + flat["pos_embed"][:, :1]
        flat["pos_embed"] = flat["pos_embed"][:, 1:]
    params = unflatten_dict({tuple(path.split("/")): x for path, x in flat.items()})
    return Converted(
        params, config, found.dialect.name, found.outside, found.prefix, found.others
    )


def require_floats(state: State) -> None:
    """Refuses quantised weights: integers and float8, whose scales are not known.

    Raises:
      ZooError: Naming their dtypes and the first of them.
    """
    other = {n: str(x.dtype) for n, x in state.items() if str(x.dtype) not in FLOATS}
    if other:
        kinds = ", ".join(sorted(set(other.values())))
        raise ZooError(
            f"expected float weights, got {kinds} in {len(other)} tensors: "
            f"{compress(other)}; use the weights from before quantisation"
        )


def _require_choice(state: State, found: Match) -> None:
    """Refuses a file with two encoders of the same standing and different numbers."""
    for prefix in equals(found):
        other = match({n: x.shape for n, x in state.items()}, found.config, prefix)
        if other.dialect is not found.dialect or any(
            not np.array_equal(state[found.names[n]], state[other.names[n]])
            for n in found.names
        ):
            raise ZooError(
                f"the file holds several encoders of this shape, at {found.prefix!r} "
                f"and {prefix!r}: choose one by --prefix"
            )


def to_state(
    params: dict[str, Any], config: ViTConfig, dialect: str
) -> dict[str, np.ndarray]:
    """Names and arrays of an encoder in a dialect; `from_state` undoes it bit for bit.

    Args:
      params: Of a plain encoder, blocks apart (`models.blocks.to_plain`).
      dialect: Of `DIALECTS`; that of published files has its layout's name.

    Raises:
      ZooError: Parameters are missing, unexpected or of another shape, or the dialect
        has no name for some of them.
    """
    chosen = DIALECTS[dialect]
    flat = {path: np.asarray(x) for path, x in flatten_dict(params, sep="/").items()}
    names, expected = expand(chosen, config), param_shapes(config)
    problems = differences({n: x.shape for n, x in flat.items()}, expected)
    nameless = [path for path in expected if path not in names]
    if nameless:
        problems.append(f"without a name in {chosen.name}: {compress(nameless)}")
    if problems:
        raise ZooError("cannot write this encoder: " + "; ".join(problems))
    if is_folded(chosen, config):
        # All of the sum stays in the token, so that it can be taken apart exactly.
        zero = np.zeros_like(flat["cls_token"])
        flat["pos_embed"] = np.concatenate([zero, flat["pos_embed"]], axis=1)
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
