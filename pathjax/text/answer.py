"""Reads a server's answer to a request for embeddings; trusts nothing in it.

The protocol is OpenAI's: {"data": [{"index": 0, "embedding": [...]}, ...], "usage":
{"prompt_tokens": 5}}, in any order. What is sound is kept, for it is paid for; the
rest is named.
"""

import collections
import json
from typing import Any

import numpy as np
from jaxtyping import Float


def read_answer(
    content: bytes, count: int, width: int | None
) -> tuple[dict[int, Float[np.ndarray, "T"]], list[str], int]:
    """The sound vectors of an answer.

    Args:
      content: the body.
      count: how many texts were sent.
      width: T; None takes the commonest length.

    Returns:
      Vectors by index; what was wrong, a few words each; tokens that were billed.
    """
    try:
        body = json.loads(content)
        entries = body["data"]
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        return {}, ["the answer is no JSON with a list of data"], 0
    faults, sound = set(), []
    for entry in entries:
        index, vector, fault = _read_entry(entry, count)
        if fault:
            faults.add(fault)
        else:
            sound.append((index, vector))
    if width is None and sound:
        lengths = collections.Counter(len(vector) for _, vector in sound)
        width = lengths.most_common(1)[0][0]
    found: dict[int, np.ndarray] = {}
    torn = set()
    for index, vector in sound:
        if len(vector) != width:
            faults.add(f"a vector of {len(vector)} numbers, wanted {width}")
        elif index in found and not np.array_equal(found[index], vector):
            faults.add("two vectors for one text")
            torn.add(index)
        else:
            found[index] = vector
    if len(entries) < count:
        faults.add(f"{len(entries)} vectors for {count} texts")
    whole = {index: one for index, one in found.items() if index not in torn}
    return whole, sorted(faults), _tokens(body)


def _read_entry(entry: Any, count: int) -> tuple[int, np.ndarray, str]:
    nothing = np.empty(0, np.float32)
    index = entry.get("index") if isinstance(entry, dict) else None
    if type(index) is not int or not 0 <= index < count:
        return -1, nothing, "a vector of no text that was sent"
    try:
        vector = np.asarray(entry.get("embedding"), np.float32)
    except (ValueError, TypeError, OverflowError):
        return index, nothing, "a vector that is no list of numbers"
    if vector.ndim != 1 or not vector.size:
        return index, nothing, "a vector that is no list of numbers"
    if not np.isfinite(vector).all() or not vector.any():
        return index, nothing, "a vector that is not finite, or all zero"
    return index, vector, ""


def _tokens(body: dict[str, Any]) -> int:
    """Tokens that the server says it billed; 0 when it does not say."""
    usage = body.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens > 0 else 0
