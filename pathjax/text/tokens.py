"""Counts the tokens of a text, and splits texts that are too long for a model.

tiktoken's vocabulary is a download. Where it is already in tiktoken's cache folder,
tokens are counted; elsewhere they are estimated from bytes. Nothing is downloaded.
"""

import functools
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

Counter = Callable[[str], int]

LONG = ("average", "truncate")  # what is done with longer texts
# In cl100k_base English prose has 3.4 to 4.5 bytes a token, an OCR report in capitals
# 1.8 to 2.3 (docs/text.md). A server refuses, without billing, a text that has more
# tokens than estimated, which is then cut.
BYTES_PER_TOKEN = 2
VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def estimate(text: str) -> int:
    """Tokens from bytes, rounded up, on the safe side for English."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@functools.cache
def counter(encoding: str | None) -> tuple[Counter, str]:
    """A function that counts tokens, and a description of how it does.

    Args:
      encoding: tiktoken's name of the vocabulary, None if unknown.
    """
    if encoding and importlib.util.find_spec("tiktoken") and _is_here(encoding):
        import tiktoken

        vocabulary = tiktoken.get_encoding(encoding)
        # A report may hold "<|endoftext|>" like any other characters.
        return (
            lambda text: len(vocabulary.encode(text, disallowed_special=())),
            f"counted with {encoding}",
        )
    return estimate, f"estimated, a token for {BYTES_PER_TOKEN} bytes"


def _is_here(encoding: str) -> bool:
    """Whether the vocabulary is in tiktoken's cache folder, by its file name there."""
    folder = (
        os.environ.get("TIKTOKEN_CACHE_DIR")
        or os.environ.get("DATA_GYM_CACHE_DIR")
        or Path(tempfile.gettempdir()) / "data-gym-cache"
    )
    name = hashlib.sha1(VOCABULARY.format(encoding).encode()).hexdigest()
    return (Path(folder) / name).is_file()


def split(text: str, limit: int, count: Counter, long: str) -> list[str]:
    """A text as pieces of at most `limit` tokens; with "truncate" only the first."""
    if long == "average":
        return cut(text, limit, count)
    first = truncate(text.strip(), limit, count)
    return [first] if first else []


def cut(text: str, limit: int, count: Counter) -> list[str]:
    """Pieces of at most `limit` tokens, halved at the space nearest to the middle.

    Raises:
      ValueError: a single character has more tokens than `limit`.
    """
    text = text.strip()
    if count(text) <= limit:
        return [text] if text else []
    if len(text) < 2:
        raise ValueError(f"{text!r} has more than {limit} tokens")
    first, second = halves(text)
    return [*cut(first, limit, count), *cut(second, limit, count)]


def halves(text: str) -> tuple[str, str]:
    """Splits two characters or more at the space nearest to the middle."""
    middle = len(text) // 2
    spaces = [i for i, char in enumerate(text) if char.isspace() and 0 < i < len(text)]
    at = min(spaces, key=lambda i: abs(i - middle), default=middle)
    return text[:at], text[at:]


def truncate(text: str, limit: int, count: Counter) -> str:
    """The longest beginning of at most `limit` tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low]
