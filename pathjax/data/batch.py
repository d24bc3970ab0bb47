"""The batch in memory: checked once, where it enters a step.

Keys and shapes are the contract of docs/architecture.md. This module checks; making
batches is `pipeline.py`'s, placing them on devices `mesh.py`'s.
"""

from collections.abc import Mapping, Sequence

import numpy as np

# key -> (number of dimensions, dtype); B leads everywhere.
FORMS: dict[str, tuple[int, str]] = {
    "image": (5, "uint8"),
    "embedding": (3, "float32"),
    "crops_global": (5, "uint8"),
    "crops_local": (5, "uint8"),
    "expression": (2, "float32"),
    "counts": (2, "float32"),
    "library": (1, "float32"),
    "text": (2, "float32"),
    "has_expression": (1, "bool"),
    "has_text": (1, "bool"),
    "mask": (1, "bool"),
    "pair_id": (1, "int32"),
    "sample": (1, "int32"),
}


def check_batch(batch: Mapping[str, np.ndarray], requires: Sequence[str]) -> None:
    """Refuses a batch that is not what a step was written for.

    Args:
      batch: host arrays by key.
      requires: the keys that the objective reads; `mask` always is.

    Raises:
      ValueError: all that is wrong, at once.
    """
    found = []
    for key in dict.fromkeys([*requires, "mask"]):
        if key not in batch:
            found.append(f"{key} is missing; the batch has {sorted(batch)}")
    sizes = {key: len(value) for key, value in batch.items()}
    if len(set(sizes.values())) > 1:
        found.append(f"the rows disagree: {sizes}")
    for key, value in batch.items():
        if key not in FORMS:
            continue
        dims, dtype = FORMS[key]
        if value.ndim != dims or value.dtype != np.dtype(dtype):
            found.append(
                f"{key} is {value.dtype}{list(value.shape)}, wanted {dtype} with "
                f"{dims} dimensions"
            )
    if found:
        raise ValueError("this is no batch for the step: " + "; ".join(found))
