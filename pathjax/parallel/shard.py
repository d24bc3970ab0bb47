"""A shard: the part of a stage's work that one job of an array does.

    --shard 3/16 -> Shard -> its rows, or its items -> files of its own

Shards are numbered from 1, as `sbatch --array=1-16` numbers its jobs. What a shard has
depends on the work alone, not on the host, so that a lost one can be done again anywhere.
The same command without --shard joins what the shards have written; how, is up to the
stage. Free of JAX.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self, TypeVar

from pathjax.parallel.lock import exclusive

T = TypeVar("T")
_NAME = re.compile(r"shard-\d+-of-(\d+)")


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Reads "3/16"; None without.

        Raises:
          ValueError: It is no part of a whole.
        """
        if text is None:
            return None
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        number, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= count:
            raise ValueError(
                f"--shard {text}: expected K/N with K from 1 to N, such as 1/16 for the "
                "first of 16"
            )
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """Of its folder or file."""
        return f"shard-{self.number}-of-{self.count}"

    def rows(self, total: int, batch: int = 1) -> range:
        """Its consecutive rows of `total`.

        Whole batches, but for the last of all: a row then shares its batch with the same
        rows for any number of shards. Sizes differ by a batch at most.
        """
        batches = -(-total // batch)
        ends = (
            batches * k // self.count * batch for k in (self.number - 1, self.number)
        )
        start, stop = (min(end, total) for end in ends)
        return range(start, stop)

    def items(self, whole: Sequence[T]) -> list[T]:
        """Every `count`-th item: neighbours, which are often alike, are shared out."""
        return list(whole[self.number - 1 :: self.count])


@contextlib.contextmanager
def held(folder: Path, shard: Shard | None, error: type[Exception]) -> Iterator[None]:
    """Locks a shard; without one, all that have been begun, so that none is running.

    Args:
      folder: Of the lock files.
      shard: Of this process.
      error: Raised when another process has it.
    """
    names = [path.name for path in folder.glob("shard-*.lock")]
    with contextlib.ExitStack() as stack:
        for name in [f"{shard.name}.lock"] if shard else names:
            stack.enter_context(exclusive(folder / name, error, "wait for it"))
        yield


def begun(folder: Path) -> list[Shard]:
    """All shards of the array job that has left some in a folder; [] where none has.

    Raises:
      ValueError: There are shards of several arrays.
    """
    names = [path.name for path in folder.glob("shard-*")]
    counts = sorted({int(match[1]) for name in names if (match := _NAME.match(name))})
    if len(counts) > 1:
        raise ValueError(
            f"{folder} has shards of {' and of '.join(map(str, counts))}: remove those "
            "that are not to be joined"
        )
    return [Shard(k + 1, count) for count in counts for k in range(count)]


def missing(folder: Path, lacking: Sequence[Shard], what: str) -> str:
    """The sentence that names the shards without which nothing is joined."""
    shown = ", ".join(map(str, lacking[:10])) + ", ..." * (len(lacking) > 10)
    return (
        f"{folder} lacks {len(lacking)} of {lacking[0].count} shards of {what}: {shown}. "
        f"Run the same command with --shard {lacking[0]} and so on, then without; or "
        "remove that folder to start again without shards"
    )
