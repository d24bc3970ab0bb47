"""What is said and agreed to before anything is sent."""

import pytest
from extras import need

from pathjax.data.text_store import TextError
from pathjax.text.cost import agree, quote
from pathjax.text.embed import Plan
from pathjax.text.openai import OpenAIBackend

need("openai")

PLAN = Plan([["a"], ["b", "c"]], ["a", "b"], 1, 2_000_000)


def test_known_models_have_a_price(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    for model, usd in (
        ("text-embedding-ada-002", 0.2),
        ("text-embedding-3-small", 0.04),
        ("text-embedding-3-large", 0.26),
    ):
        found = quote(PLAN, OpenAIBackend(model))
        assert found.usd == pytest.approx(usd)
        text = "\n".join(found.lines)
        assert "2 texts, 1 of them cut; 2 pieces to request, 1 in the cache" in text
        assert "leave this machine: they go to https://api.openai.com/v1" in text
        assert "about 2000000 tokens (estimated" in text and f"${usd:.4f}" in text
    assert quote(PLAN, OpenAIBackend(model), price=1.0).usd == 2


def test_other_models_have_none_and_local_ones_are_free():
    far = quote(PLAN, OpenAIBackend("m", base_url="https://example.org/v1"))
    assert far.usd is None and "price of m is unknown" in far.lines[-2]
    near = quote(PLAN, OpenAIBackend("m", base_url="http://localhost:1/v1"))
    assert near.usd == 0 and "leave" not in "".join(near.lines)


def test_agreement(monkeypatch):
    found = quote(PLAN, OpenAIBackend("text-embedding-3-small"), price=1.0)
    agree(found, yes=True, max_cost=None, paid=True)
    agree(found, yes=False, max_cost=2.5, paid=True)
    agree(found, yes=False, max_cost=None, paid=False)
    with pytest.raises(TextError, match=r"about \$2.0000 is over --max-cost 1.5"):
        agree(found, yes=True, max_cost=1.5, paid=True)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(TextError, match="nothing was sent: agree with --yes"):
        agree(found, yes=False, max_cost=None, paid=True)
    unknown = quote(PLAN, OpenAIBackend("m", base_url="https://example.org/v1"))
    with pytest.raises(TextError, match="--max-cost needs a price"):
        agree(unknown, yes=True, max_cost=1, paid=True)


def test_a_person_is_asked(monkeypatch):
    found = quote(PLAN, OpenAIBackend("text-embedding-3-small"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    agree(found, yes=False, max_cost=None, paid=True)
    monkeypatch.setattr("builtins.input", lambda prompt: "")
    with pytest.raises(TextError, match="nothing was sent"):
        agree(found, yes=False, max_cost=None, paid=True)
