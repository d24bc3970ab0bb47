"""Checks a batch once, where it enters a step (keys: docs/architecture.md)."""

from collections.abc import Mapping, Sequence

import numpy as np

# key -> (number of dimensions, dtype); the batch dimension is the first.
FORMS: dict[str, tuple[int, str]] = {
    "image": (5, "uint8"),
    "embedding": (3, "float32"),
    "crops_global": (5, "uint8"),
    "crops_local": (5, "uint8"),
    "expression": (2, "float32"),
    "counts": (2, "float32"),
    "library": (1, "float32"),
    "measured": (2, "bool"),
    "text": (2, "float32"),
    "vectors": (2, "float32"),
    "has_expression": (1, "bool"),
    "has_text": (1, "bool"),
    "mask": (1, "bool"),
    "pair_id": (1, "int32"),
    "sample": (1, "int32"),
}


def check_batch(batch: Mapping[str, np.ndarray], requires: Sequence[str]) -> None:
    """Refuses a batch that a step cannot take.

    Args:
      batch: Host arrays by key.
      requires: Keys that the objective reads, besides `mask`.

    Raises:
      ValueError: All problems at once.
    """
    problems = [
        f"{key} is missing; the batch has {sorted(batch)}"
        for key in dict.fromkeys([*requires, "mask"])
        if key not in batch
    ]
    sizes = {key: len(value) for key, value in batch.items()}
    if len(set(sizes.values())) > 1:
        problems.append(f"the numbers of rows differ: {sizes}")
    for key in (key for key in batch if key in FORMS):
        value, (dims, dtype) = batch[key], FORMS[key]
        if value.ndim != dims or value.dtype != np.dtype(dtype):
            problems.append(
                f"{key}: expected {dtype} with {dims} dimensions, got "
                f"{value.dtype}{list(value.shape)}"
            )
    if problems:
        raise ValueError("invalid batch: " + "; ".join(problems))
