"""How many tokens a text has, and texts too long for a model cut into pieces.

tiktoken's vocabulary is a download. Where it is already here (tiktoken's own cache
folder) tokens are counted, else estimated from bytes. Nothing is downloaded.
"""

import functools
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

Counter = Callable[[str], int]

# In cl100k_base English prose has 3.4 to 4.5 bytes a token, an OCR report in capitals
# 1.8 to 2.3 (docs/text.md). A text that has more tokens than thought is refused by the
# server, unpaid, and cut then.
BYTES_PER_TOKEN = 2
VOCABULARY = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def estimate(text: str) -> int:
    """Tokens from bytes, rounded up, on the safe side for English."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


@functools.cache
def counter(encoding: str | None) -> tuple[Counter, str]:
    """What counts tokens, and how it does, for a person.

    Args:
      encoding: tiktoken's name of the vocabulary, None when it is not known.
    """
    if encoding and importlib.util.find_spec("tiktoken") and _is_here(encoding):
        import tiktoken

        known = tiktoken.get_encoding(encoding)
        # A report may hold "<|endoftext|>" like any other characters.
        return (
            lambda text: len(known.encode(text, disallowed_special=())),
            f"counted with {encoding}",
        )
    return estimate, f"estimated, a token for {BYTES_PER_TOKEN} bytes"


def _is_here(encoding: str) -> bool:
    """True when tiktoken need not download, by the names in its cache folder."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get(
        "DATA_GYM_CACHE_DIR"
    )
    folder = Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache")
    name = hashlib.sha1(VOCABULARY.format(encoding).encode()).hexdigest()
    return (folder / name).is_file()


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
    """A text of two characters or more in two, at the space nearest to the middle."""
    middle = len(text) // 2
    spaces = [i for i, one in enumerate(text) if one.isspace() and 0 < i < len(text)]
    at = min(spaces, key=lambda i: abs(i - middle), default=middle)
    return text[:at], text[at:]


def truncate(text: str, limit: int, count: Counter) -> str:
    """The longest beginning of `limit` tokens or fewer that ends with a character."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[:middle]) <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low]
