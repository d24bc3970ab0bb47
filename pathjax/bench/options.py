"""What a benchmark can be told, as `--config.NAME=VALUE`, and its checks."""

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any


class BenchError(ValueError):
    """A benchmark that cannot be run; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Common:
    """Of every benchmark.

    Attributes:
      rounds: each contestant has one turn in each.
      threads: cores that each contestant may use.
      contestants: names, comma-separated; "" is the default set.
      peer_python: interpreter that has the peers; "" is the one running.
    """

    rounds: int = 7
    threads: int = 2
    contestants: str = ""
    peer_python: str = ""


@dataclasses.dataclass(frozen=True)
class StepOptions(Common):
    """Of `bench step`: the size of the training step.

    Attributes:
      variant, image_px, gelu: of the ViT.
      batch, genes: B and G; one tile a sample.
      layers, width: of the expression MLP; its dropout is 0.1 in all contestants.
      embed_dim: of the shared space.
      count: steps in a turn.
    """

    variant: str = "S/16"
    image_px: int = 224
    gelu: str = "exact"
    batch: int = 16
    genes: int = 2000
    layers: int = 4
    width: int = 512
    embed_dim: int = 128
    count: int = 3


@dataclasses.dataclass(frozen=True)
class ForwardOptions(Common):
    """Of `bench forward`: embedding batches of tiles.

    Attributes:
      variant, image_px, gelu: of the ViT.
      batch: tiles.
      count: batches in a turn.
    """

    variant: str = "S/16"
    image_px: int = 224
    gelu: str = "exact"
    batch: int = 32
    count: int = 3


@dataclasses.dataclass(frozen=True)
class LoaderOptions(Common):
    """Of `bench loader`.

    Attributes:
      images: folder of tissue images to cut the tiles from; "" looks into monuseg/ of
        the folder PATHJAX_TEST_DATA, and draws synthetic tissue if there is none.
      tiles, tile_px, image_px: how many tiles, their side, the side of the crops.
      batch: of 64.
      buffer: batches that our loader reads ahead.
      count: batches in a turn.
    """

    images: str = ""
    tiles: int = 2048
    tile_px: int = 256
    image_px: int = 224
    batch: int = 64
    buffer: int = 4
    count: int = 100


# Paths of the machine it was run on, which say nothing to a reader elsewhere.
PRIVATE = ("peer_python", "images")


def parse_options(kind: type[Common], words: Sequence[str]) -> Any:
    """Reads `--config.NAME=VALUE` words into `kind`.

    Raises:
      BenchError: everything wrong with them at once.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    wrong = []
    for word in words:
        key, equals, text = word.partition("=")
        name = key.removeprefix("--config.")
        if not key.startswith("--config.") or not equals:
            wrong.append(f"{word}: wanted --config.NAME=VALUE")
        elif name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.4) or sorted(known)
            wrong.append(f"{name}: no such option, near are {', '.join(near)}")
        elif known[name].type is int and not (text.isdecimal() and int(text) > 0):
            wrong.append(f"{name}={text}: wanted a whole number above 0")
        else:
            values[name] = known[name].type(text)
    if wrong:
        raise BenchError("the benchmark cannot be run:\n  - " + "\n  - ".join(wrong))
    return kind(**values)
