"""What is taken from a server's answer, and what is named."""

import json

import numpy as np
import pytest

from pathjax.text.answer import read_answer


def body(*entries, **more):
    return json.dumps({"data": list(entries), **more}).encode()


def entry(index, *vector):
    return {"index": index, "embedding": list(vector)}


def test_vectors_go_by_their_index():
    content = body(entry(1, 3.0, 4.0), entry(0, 1.0, 2.0), usage={"prompt_tokens": 5})
    found, faults, tokens = read_answer(content, 2, 2)
    np.testing.assert_array_equal(found[0], [1, 2])
    np.testing.assert_array_equal(found[1], [3, 4])
    assert not faults and tokens == 5 and found[0].dtype == np.float32


def test_without_a_known_length_the_commonest_counts():
    content = body(entry(0, 1.0), entry(1, 1.0, 2.0), entry(2, 3.0, 4.0))
    found, faults, _ = read_answer(content, 3, None)
    assert sorted(found) == [1, 2]
    assert faults == ["a vector of 1 numbers, expected 2"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "no JSON with a list of data"),
        (b'{"data": {"index": 0}}', "no JSON with a list of data"),
        (body(), "0 vectors for 1 texts"),
        (body(3), "of no text"),
        (body(entry("0", 1.0)), "of no text"),
        (body(entry(True, 1.0)), "of no text"),
        (body(entry(-1, 1.0)), "of no text"),
        (body(entry(1, 1.0)), "of no text"),
        (body(entry(0)), "no list of numbers"),
        (body(entry(0, "a")), "no list of numbers"),
        (body(entry(0, [1.0])), "no list of numbers"),
        (body(entry(0, float("nan"))), "not finite"),
        (body(entry(0, 1e300)), "not finite"),
        (body(entry(0, 0.0)), "all zero"),
        (body(entry(0, 1.0), entry(0, 2.0)), "two vectors for one text"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_what_is_not_sound_is_named(content, fault):
    found, faults, tokens = read_answer(content, 1, 1)
    assert not found and tokens == 0
    assert any(fault in one for one in faults)


def test_the_same_vector_twice_is_one():
    assert list(read_answer(body(entry(0, 1.0), entry(0, 1.0)), 1, 1)[0]) == [0]
