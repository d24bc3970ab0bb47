"""Parses a server's answer to a request for embeddings, trusting nothing in it.

OpenAI's protocol: {"data": [{"index": 0, "embedding": [...]}, ...], "usage":
{"prompt_tokens": 5}}, in any order. Valid vectors are kept even when others in the same
answer are not, because they have been paid for.
"""

import collections
import json
from typing import Any

import numpy as np
from jaxtyping import Float


def read_answer(
    content: bytes, count: int, width: int | None
) -> tuple[dict[int, Float[np.ndarray, "T"]], list[str], int]:
    """The valid vectors of an answer.

    Args:
      content: Body of the answer.
      count: Number of texts sent.
      width: Expected length T of a vector; None takes the most common length.

    Returns:
      Vectors by index; problems, a few words each; tokens billed (0 if not stated).
    """
    try:
        body = json.loads(content)
        entries = body["data"]
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        return {}, ["the answer is no JSON with a list of data"], 0
    problems, valid = set(), []
    for entry in entries:
        try:
            valid.append(_read_entry(entry, count))
        except ValueError as error:
            problems.add(str(error))
    if width is None and valid:
        lengths = collections.Counter(len(vector) for _, vector in valid)
        width = lengths.most_common(1)[0][0]
    vectors: dict[int, np.ndarray] = {}
    ambiguous = set()
    for index, vector in valid:
        if len(vector) != width:
            problems.add(f"a vector of {len(vector)} numbers, expected {width}")
        elif not np.array_equal(vectors.setdefault(index, vector), vector):
            problems.add("two vectors for one text")
            ambiguous.add(index)
    if len(entries) < count:
        problems.add(f"{len(entries)} vectors for {count} texts")
    vectors = {i: vector for i, vector in vectors.items() if i not in ambiguous}
    usage = body.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    billed = tokens if type(tokens) is int and tokens > 0 else 0
    return vectors, sorted(problems), billed


def _read_entry(entry: Any, count: int) -> tuple[int, np.ndarray]:
    """Index and vector of one entry; ValueError says what is wrong with it."""
    index = entry.get("index") if isinstance(entry, dict) else None
    if type(index) is not int or not 0 <= index < count:
        raise ValueError("a vector of no text that was sent")
    try:
        vector = np.asarray(entry.get("embedding"), np.float32)
    except (ValueError, TypeError, OverflowError):
        vector = np.empty(0, np.float32)
    if vector.ndim != 1 or not vector.size:
        raise ValueError("a vector that is no list of numbers")
    if not np.isfinite(vector).all() or not vector.any():
        raise ValueError("a vector that is not finite, or all zero")
    return index, vector
