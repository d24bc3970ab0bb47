"""Options of the benchmarks, given as `--config.NAME=VALUE`, and their contestants."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any


class BenchError(ValueError):
    """A benchmark that cannot be run; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Common:
    """Options of every benchmark.

    Attributes:
      rounds: Each contestant has one turn in each.
      count: Units of work in a turn, such as steps or batches.
      threads: Cores that each contestant may use.
      contestants: Names, comma-separated; "" is the default set.
      peer_python: Interpreter that has the peers; "" is the one running.
    """

    rounds: int = 7
    count: int = 3
    threads: int = 2
    contestants: str = ""
    peer_python: str = ""


# Paths of the machine, left out of the JSON.
PRIVATE = ("peer_python", "study", "slide", "tables")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A contestant.

    Attributes:
      name, label: For the command line and JSON, and for people.
      contestant: Its class, as `module:Class`.
      options: Sent to the worker as JSON; must contain `threads`.
      modules: Libraries that a peer needs; empty for ours. Peers run with --peer only.
      extra: Extra of pathjax that installs them.
      default: Whether it takes part unless contestants are named.
      environ: Environment variables to add.
    """

    name: str
    label: str
    contestant: str
    options: Mapping[str, Any]
    modules: tuple[str, ...] = ()
    extra: str = "peers"
    default: bool = True
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def peer(self) -> bool:
        return bool(self.modules)


def parse_options(kind: type, words: Sequence[str]) -> Any:
    """Reads `--config.NAME=VALUE` words into `kind`; the last of a name counts.

    Raises:
      BenchError: lists every invalid word.
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    wrong = []
    for word in words:
        key, equals, text = word.partition("=")
        name = key.removeprefix("--config.")
        if not key.startswith("--config.") or not equals:
            wrong.append(f"expected --config.NAME=VALUE, got {word}")
        elif name not in known:
            near = difflib.get_close_matches(name, known, 3, 0.4) or sorted(known)
            wrong.append(f"unknown option {name!r}; did you mean {', '.join(near)}?")
        elif known[name].type is int and not (text.isdecimal() and int(text) > 0):
            wrong.append(f"{name}={text}: expected a whole number above 0")
        else:
            values[name] = known[name].type(text)
    if wrong:
        raise BenchError("invalid benchmark options:\n  - " + "\n  - ".join(wrong))
    return kind(**values)
