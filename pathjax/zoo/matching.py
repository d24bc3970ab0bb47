"""Recognises the encoder in a file from the names and shapes of its tensors.

    shapes by name, a config -> `match` -> dialect, prefix, names

A file may hold the encoder under any prefix (`state_dict.module.`, `dinov2.`) and
several times (student and teacher, raw weights and their moving average). Each place
where a ViT's first tensors are is a candidate, and so is each dialect; a candidate fits
when names and shapes are exactly the encoder's. Where several fit, a moving average
(EMA) is taken before a teacher, and a student last, as timm and DINO do when they
evaluate. Arrays are not read here.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

from pathjax.models.variants import ViTConfig
from pathjax.zoo.entry import ZooError
from pathjax.zoo.layouts import (
    DIALECTS,
    Dialect,
    Shape,
    expand,
    is_folded,
    param_shapes,
    their_shapes,
)

Shapes = Mapping[str, Shape]
SHOWN = 2  # names of a kind in an error

# Tensors before the first block; what is in front of one is a prefix.
ANCHOR = re.compile(
    r"(?P<prefix>(?:.*?\.)??)(?:embeddings\.(?:cls_token|position_embeddings|"
    r"patch_embeddings\.projection\.weight)|cls_token|pos_embed|"
    r"patch_embed\.proj\.weight)$"
)
# What a file may hold beside the encoder: the mask token of masked training, heads
# after the final norm, losses and decoders. `fc_norm` is not among them, because a
# model that has it averages before its norm and is another architecture.
OUTSIDE = re.compile(
    r"(embeddings\.)?(mask_token|position_ids)$"
    r"|(head|dino_head|ibot_head|classifier|pooler|criterion|loss|loss_fn|projector)\."
    r"|decoder\w*(\.|$)"
)
# Wrappers of compilation, sharding and recomputation, at any depth.
WRAPPED = re.compile(
    r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
# DINOv2's sharded training names a block by its chunk and its number.
CHUNKED = re.compile(r"blocks\.\d+\.(\d+\.)")


@dataclasses.dataclass(frozen=True)
class Match:
    """One way to read a file as an encoder.

    Attributes:
      dialect: The naming.
      prefix: In front of the encoder's names.
      names: Name in the dialect to name in the file.
      outside: Names in the file that are no part of the encoder.
      config: The encoder at the grid of the file's positions.
      problems: What does not fit, a phrase each.
      score: Number of names that agree.
      others: Prefixes of further encoders that fit as well.
    """

    dialect: Dialect
    prefix: str
    names: dict[str, str]
    outside: tuple[str, ...]
    config: ViTConfig
    problems: tuple[str, ...]
    score: int
    others: tuple[str, ...] = ()


def match(shapes: Shapes, config: ViTConfig, prefix: str | None = None) -> Match:
    """The best reading of a file as this encoder, with its problems.

    Args:
      shapes: Of all tensors in the file, by name.
      config: The expected encoder.
      prefix: Only this place in the file; None chooses.

    Raises:
      ZooError: There is no vision transformer in the file, or not at `prefix`; or
        several places fit equally well.
    """
    places = prefixes(shapes)
    if not places:
        raise ZooError(
            f"expected a vision transformer, got {len(shapes)} other tensors: "
            f"{compress(shapes) or 'none'}"
        )
    if prefix is not None:
        if prefix not in places:
            known = ", ".join(map(repr, places))
            raise ZooError(f"prefix={prefix!r}: expected one of {known}")
        places = [prefix]
    # The first of equals: timm's names, where a hub's do not differ.
    best = [
        max(
            (_read(shapes, config, place, one) for one in DIALECTS.values()),
            key=lambda found: (not found.problems, found.score),
        )
        for place in places
    ]
    fits = sorted((one for one in best if not one.problems), key=_rank)
    if not fits:
        return max(best, key=lambda one: one.score)
    return dataclasses.replace(fits[0], others=tuple(one.prefix for one in fits[1:]))


def equals(found: Match) -> list[str]:
    """Prefixes of other encoders in the file that nothing tells from the chosen one."""
    rank = role(found.prefix)
    return [prefix for prefix in found.others if role(prefix) == rank]


def role(prefix: str) -> int:
    """0 for a moving average, 1 for a teacher, 2 for neither, 3 for a student."""
    parts = prefix.lower().split(".")
    if any(re.search(r"(^|_)ema(_|$)", part) for part in parts):
        return 0
    if any("teacher" in part for part in parts):
        return 1
    return 3 if any("student" in part for part in parts) else 2


def _rank(found: Match) -> tuple[int, int, int]:
    # timm looks for `state_dict_ema` before `model_ema`.
    return role(found.prefix), "model_ema" in found.prefix, len(found.prefix)


def prefixes(names: Iterable[str]) -> list[str]:
    """What stands before a ViT's first tensors, in the order of the file."""
    hits = (ANCHOR.fullmatch(name) for name in names)
    return list(dict.fromkeys(hit["prefix"] for hit in hits if hit))


def strip(names: Iterable[str], prefix: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Names below a prefix without wrappers and chunks, to names in the file.

    Returns:
      (clean name to name in the file, names that are no part of the encoder).
    """
    clean: dict[str, str] = {}
    outside: list[str] = []
    for name in names:
        inner = WRAPPED.sub("", name.removeprefix(prefix))
        if not name.startswith(prefix) or OUTSIDE.match(inner):
            outside.append(name)
        else:
            clean[inner] = name
    blocks = [name for name in clean if name.startswith("blocks.")]
    if blocks and all(CHUNKED.match(name) for name in blocks):
        clean = {CHUNKED.sub(r"blocks.\1", new): old for new, old in clean.items()}
    return clean, tuple(outside)


def _read(shapes: Shapes, config: ViTConfig, prefix: str, dialect: Dialect) -> Match:
    names, outside = strip(shapes, prefix)
    inside = {new: tuple(shapes[old]) for new, old in names.items()}
    config = follow_grid(inside, config, dialect)
    expected = their_shapes(dialect, config)
    problems = differences(inside, expected)
    written = expand(dialect, config)
    nameless = [path for path in param_shapes(config) if path not in written]
    if nameless:
        problems.append(f"without a name in {dialect.name}: {compress(nameless)}")
    score = len(expected.keys() & inside.keys())
    return Match(dialect, prefix, names, outside, config, tuple(problems), score)


def follow_grid(inside: Shapes, config: ViTConfig, dialect: Dialect) -> ViTConfig:
    """The config at the grid that the file has positions for, if that is a square.

    One model is published at several grids (kaiko's L/14 at 37 x 37 and 16 x 16), and
    positions are resized at forward, never in the file.
    """
    positions = inside.get(expand(dialect, config)["pos_embed"][0], ())
    if len(positions) != 3:
        return config  # `differences` says so
    prefix = 0 if config.no_embed_class else 1 + config.registers
    patches = positions[1] - prefix - is_folded(dialect, config)
    side = math.isqrt(max(patches, 0))
    if side == 0 or side**2 != patches:
        return config
    return config.replace(image_px=side * config.patch)


def describe(shapes: Shapes) -> str:
    """What kind of ViT a file holds, in words; "" if its names are unknown."""
    kernel = re.compile(r"(?:^|\.)patch_embed(dings)?\.proj(ection)?\.weight$")
    for name, shape in shapes.items():
        if len(shape) == 4 and kernel.search(name):
            indices = re.findall(r"(?:blocks|layers?)\.(\d+)\.", " ".join(shapes))
            depth = max(map(int, indices), default=-1) + 1
            family = "transformers" if "embeddings" in name else "timm or a hub"
            return (
                f"a ViT of width {shape[0]}, patch {shape[-1]} and {depth} blocks in "
                f"the names of {family}"
            )
    return ""


def differences(actual: Shapes, expected: Shapes) -> list[str]:
    """What is missing, unexpected and mis-shaped, a phrase each."""
    misshaped: dict[str, list[str]] = {}
    for name in [one for one in expected if one in actual]:
        if tuple(actual[name]) != expected[name]:
            shapes = f"{list(actual[name])}, expected {list(expected[name])}"
            misshaped.setdefault(shapes, []).append(name)
    groups = {
        "missing": [name for name in expected if name not in actual],
        "unexpected": [name for name in actual if name not in expected],
    }
    problems = [
        f"{len(names)} {kind}: {compress(names)}"
        for kind, names in groups.items()
        if names
    ]
    if misshaped:
        each = [f"{compress(ns, 1)} {shapes}" for shapes, ns in misshaped.items()]
        more = [f"... ({len(each) - SHOWN} more)"] if len(each) > SHOWN else []
        count = sum(map(len, misshaped.values()))
        text = ", ".join(each[:SHOWN] + more)
        problems.append(f"{count} of another shape: {text}")
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
    words = [
        f"{before}{_ranges(sorted(set(numbers)))}{after}"
        for (before, after), numbers in runs.items()
    ]
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
