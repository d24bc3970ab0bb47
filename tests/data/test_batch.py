"""The contract of a batch, where it enters a step."""

import numpy as np
import pytest

from pathjax.data.batch import check_batch


def good():
    return {
        "image": np.zeros((2, 1, 8, 8, 3), np.uint8),
        "expression": np.zeros((2, 3), np.float32),
        "mask": np.ones(2, bool),
        "pair_id": np.zeros(2, np.int32),
    }


def test_a_good_batch_passes():
    check_batch(good(), ("image", "expression", "pair_id"))


def test_everything_wrong_is_said_at_once():
    batch = good() | {
        "image": np.zeros((2, 8, 8, 3), np.float32),
        "expression": np.zeros((3, 3), np.float64),
    }
    del batch["mask"]
    with pytest.raises(ValueError) as caught:
        check_batch(batch, ("image", "counts"))
    text = str(caught.value)
    assert "counts is missing" in text and "mask is missing" in text
    assert "image: expected uint8 with 5 dimensions, got float32[2, 8, 8, 3]" in text
    assert "got float64[3, 3]" in text and "numbers of rows differ" in text
