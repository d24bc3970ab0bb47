"""Counting tokens and cutting texts."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.text import tokens
from pathjax.text.tokens import counter, cut, estimate, halves, truncate


def test_the_estimate_is_by_bytes():
    assert estimate("") == 0 and estimate("abc") == 2 and estimate("µµ") == 2
    assert counter(None) == (estimate, "estimated, a token for 2 bytes")


def test_tokens_are_counted_where_the_vocabulary_is_here(monkeypatch, tmp_path):
    class Encoding:
        def encode(self, text, disallowed_special):
            return text.split()

    class Tiktoken:
        __spec__ = object()
        get_encoding = staticmethod(lambda name: Encoding())

    monkeypatch.setitem(sys.modules, "tiktoken", Tiktoken)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    counter.cache_clear()
    assert counter("cl100k_base")[0] is estimate  # not here: nothing is downloaded
    # The name that tiktoken gives the file: SHA-1 of its address.
    (tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").touch()
    counter.cache_clear()
    count, how = counter("cl100k_base")
    assert count("one two three") == 3 and how == "counted with cl100k_base"
    counter.cache_clear()
    assert tokens.counter(None)[0] is estimate


@settings(deadline=None, max_examples=60)
@given(st.text("ab \n", max_size=60), st.integers(2, 20))
def test_pieces_are_short_enough_and_nothing_is_lost(text, limit):
    pieces = cut(text, limit, len)
    assert all(0 < len(one) <= limit and one.strip() == one for one in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_cuts_are_at_the_space_nearest_to_the_middle():
    assert halves("one two three four") == ("one two", " three four")
    assert halves("abcdef") == ("abc", "def")
    assert cut("one two three four", 10, len) == ["one two", "three four"]
    assert cut(" short ", 10, len) == ["short"] and cut("  ", 10, len) == []
    with pytest.raises(ValueError, match="'x' has more than 1 tokens"):
        cut("x", 1, lambda text: 2)


def test_truncation_keeps_the_longest_beginning():
    assert truncate("abcdef", 4, len) == "abcd"
    assert truncate("abc", 4, len) == "abc"
    assert truncate("µµµ", 2, estimate) == "µµ"
