"""What the tests of launch/ share: a line of training, and calls among those made."""

from collections.abc import Sequence

TRAIN = (
    "--config=configs/tcga.py:contrastive",
    "--workdir=/mnt/pathjax/r1",
    "--config.name=a b",
)


def named(calls: Sequence[Sequence[str]], *words: str) -> list[list[str]]:
    """The calls with all of the words; one with a space may be part of a word."""

    def has(call, word):
        return any(word == one or (" " in word and word in one) for one in call)

    return [list(call) for call in calls if all(has(call, word) for word in words)]
