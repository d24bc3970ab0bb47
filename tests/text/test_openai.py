"""Embedding over HTTP from a server that fails in every way it can.

Whatever happens, each text gets its own vector and is answered (paid) once.
"""

import json
import random
import time
import types

import numpy as np
import pytest
import text_server as bad
from extras import need
from text_server import vector_of

from pathjax.data.text_store import TextError
from pathjax.text import openai
from pathjax.text.cache import VectorCache
from pathjax.text.embed import make_plan, run
from pathjax.text.openai import (
    OpenAIBackend,
    checked_url,
    is_too_long,
    read_answer,
)

need("openai")

TEXTS = [f"report {i} of a carcinoma" for i in range(20)]


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Seconds that the client would have slept."""
    asked = []
    clock = types.SimpleNamespace(sleep=asked.append, time=time.time)
    monkeypatch.setattr("openai._base_client.time", clock)
    return asked


@pytest.fixture
def cache(tmp_path):
    with VectorCache(tmp_path / "cache.sqlite") as opened:
        yield opened


@pytest.fixture
def backend(server):
    def make(**how):
        how = {"batch": 5, "timeout": 0.3, "base_url": server.url} | how
        return OpenAIBackend("m", **how)

    return make


def embed(backend, cache, texts=TEXTS):
    return run(make_plan(texts, backend, cache), backend, cache)


def right(texts=TEXTS):
    return np.array([vector_of(text) for text in texts], np.float32)


def paid_once(server, texts=TEXTS):
    return server.paid == dict.fromkeys(texts, 1)


def test_a_good_server(server, backend, cache):
    np.testing.assert_allclose(embed(backend(), cache), right(), rtol=1e-6)
    assert paid_once(server) and len(server.requests) == 4
    first = server.requests[0]
    assert first["path"] == "/v1/embeddings" and first["model"] == "m"
    assert first["input"] == TEXTS[:5] and first["encoding_format"] == "float"
    assert "dimensions" not in first
    assert first["headers"]["authorization"] == f"Bearer {bad.KEY}"


FAULTS = {
    "a failure": bad.refuse(500),
    "a gateway": bad.refuse(503),
    "no body": lambda request: bad.send(request, b"", 502),
    "a throttle": bad.throttle("0"),
    "a time-out": bad.hang,
    "a drop": bad.drop,
    "a drop midway": bad.drop_midway,
    "another order": bad.shuffled,
    "too few": bad.too_few,
    "another length": bad.changed([1.0, 2.0]),
    "no number": bad.changed([float("nan")] * bad.WIDTH),
    "infinity": bad.changed([float("inf")] * bad.WIDTH),
    "nothing": bad.changed(None),
    "words": bad.changed("abc"),
    "zeros": bad.changed([0.0] * bad.WIDTH),
    "half a JSON": bad.no_json,
    "no data": bad.no_data,
    "a page": bad.a_page,
    "two for one": bad.two_for_one,
    "one too many": bad.of_no_text,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_or_paid_for_twice(server, backend, cache, fault):
    server.script.extend([bad.well, FAULTS[fault], bad.well, FAULTS[fault]])
    np.testing.assert_allclose(embed(backend(), cache), right(), rtol=1e-6)
    assert paid_once(server)
    before = len(server.requests)
    np.testing.assert_allclose(embed(backend(), cache), right(), rtol=1e-6)
    assert len(server.requests) == before  # the second run asks for nothing


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_faults(server, backend, cache, seed):
    quick = [name for name in FAULTS if name != "a time-out"]
    chance = random.Random(seed)
    for _ in range(25):  # never so many bad answers in a row that it gives up
        server.script.extend([FAULTS[chance.choice(quick)], bad.well])
    np.testing.assert_allclose(embed(backend(batch=3), cache), right(), rtol=1e-6)
    assert paid_once(server)


def test_the_wait_that_is_asked_for(server, backend, cache, waits):
    server.script.extend([bad.throttle("7"), bad.throttle("0.25"), bad.refuse(500)])
    embed(backend(), cache)
    assert waits[:2] == [7, 0.25] and 1 <= waits[2] <= 2
    server.script.append(bad.throttle("4000"))
    with pytest.raises(TextError, match="is busy .status 429, Retry-After 4000"):
        embed(backend(), cache, ["another text"])


def test_it_gives_up_and_keeps_what_it_has(server, backend, cache):
    server.script.extend([bad.well, *[bad.refuse(500)] * 4])
    with pytest.raises(TextError, match="failed 4 times in a row, last: status 500"):
        embed(backend(retries=3), cache)
    assert len(server.paid) == 5
    embed(backend(), cache)
    assert paid_once(server)


def test_answers_that_stay_bad_are_not_paid_for_for_ever(server, backend, cache):
    server.script.extend([bad.changed([1.0, 2.0])] * 9)
    message = "3 invalid answers in a row for model m: a vector of 2 numbers"
    with pytest.raises(TextError, match=message):
        embed(backend(dimensions=bad.WIDTH), cache)
    assert len(server.requests) == 4  # the first had four sound vectors: kept
    assert len(server.paid) == 4


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (bad.refuse(401), r"refuses .status 401. the key in \$OPENAI_API_KEY"),
        (bad.refuse(404, "no model m"), "refuses .status 404.*no model m"),
        (bad.refuse(400, "bad input"), "refuses .status 400.*bad input"),
        (bad.refuse(429, "pay first", code="insufficient_quota"), "pay first"),
        (bad.refuse(307, headers=[("Location", "http://x")]), "redirects"),
    ],
)
def test_a_refusal_is_not_tried_again(server, backend, cache, answer, message):
    server.script.append(answer)
    with pytest.raises(TextError, match=message):
        embed(backend(), cache)
    assert len(server.requests) == 1


def test_no_server_at_all(server, backend, cache, waits):
    server.close()
    with pytest.raises(TextError, match="failed 3 times in a row, last: no connection"):
        embed(backend(retries=2), cache)
    assert len(waits) == 2


def test_texts_of_too_many_tokens_are_cut_by_the_servers_word(server, backend, cache):
    server.limit = 100
    long = " ".join(f"word{i}" for i in range(40))
    texts = ["short one", long, "short two"]
    found = embed(backend(), cache, texts)
    np.testing.assert_allclose(found[[0, 2]], right([texts[0], texts[2]]), rtol=1e-6)
    parts = [one for one in server.paid if one.strip() in long]
    assert len(parts) == 4 and "".join(parts) == long
    assert set(server.paid.values()) == {1}
    assert np.linalg.norm(found[1]) == pytest.approx(1)
    server.limit = 10
    with pytest.raises(TextError, match="refuses a text of .* characters as too long"):
        embed(backend(), cache, ["x" * 200])


def test_how_the_server_made_it_cut_a_text_is_part_of_its_key(server, backend, cache):
    """The half that --long truncate takes is not the whole that average is asked for."""
    server.limit = 100
    long = " ".join(f"word{i}" for i in range(20))
    half = embed(backend(long="truncate"), cache, [long])
    whole = embed(backend(long="average"), cache, [long])
    assert np.abs(half - whole).max() > 0.1
    assert not make_plan([long], backend(), cache).missing


def test_long_texts_are_averaged_by_their_length(server, backend, cache):
    text = " ".join(f"word{i}" for i in range(40))
    how = backend(max_tokens=50)  # 100 bytes
    pieces = how.pieces(text)
    assert len(pieces) == 4 and all(how.count(one) <= 50 for one in pieces)
    total = sum(len(one) * np.array(vector_of(one)) for one in pieces)
    found = embed(how, cache, [text])[0]
    np.testing.assert_allclose(found, total / np.linalg.norm(total), rtol=1e-5)
    short = backend(max_tokens=50, long="truncate").pieces(text)
    assert short == [text[:100]]


def test_requests_stay_within_their_tokens(server, backend, cache, monkeypatch):
    monkeypatch.setattr(openai, "REQUEST_TOKENS", 40)
    embed(backend(batch=20), cache)  # 12 or 13 tokens each
    assert [len(one["input"]) for one in server.requests] == [3] * 6 + [2]


def test_other_settings_are_other_vectors(server, backend, cache):
    embed(backend(), cache)
    assert not make_plan(TEXTS, backend(), cache).missing
    assert len(make_plan(TEXTS, backend(dimensions=6), cache).missing) == 20
    embed(backend(dimensions=6), cache)
    assert server.requests[-1]["dimensions"] == 6


def test_equal_texts_are_asked_for_once(server, backend, cache):
    found = embed(backend(), cache, ["same", "same", "other"])
    assert server.paid == {"same": 1, "other": 1}
    np.testing.assert_array_equal(found[0], found[1])


def test_a_model_that_changed_its_length_is_named(server, backend, cache):
    embed(backend(), cache, ["one"])
    server.script.append(lambda r: bad.send_entries(r, [
        {"index": 0, "embedding": [1.0, 0.0]}]))  # fmt: skip
    with pytest.raises(TextError, match=r"have \[2, 6\] numbers"):
        embed(backend(), cache, ["one", "two"])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.org/v1", "is not encrypted"),
        ("https://user:pass@example.org/v1", "holds a name, a password"),
        ("https://example.org/v1?key=abc", "holds a name, a password or a query"),
        ("ftp://example.org", "expected a base URL https"),
        ("example.org", "expected a base URL https"),
    ],
)
def test_urls_that_are_refused(url, message):
    with pytest.raises(TextError, match=message) as caught:
        checked_url(url)
    assert "pass@" not in str(caught.value) and "abc" not in str(caught.value)


def test_urls_that_are_not():
    assert checked_url("http://localhost:8000/v1/") == "http://localhost:8000/v1"
    assert checked_url("https://example.org/v1") == "https://example.org/v1"
    assert checked_url("http://10.0.0.2/v1", insecure=True) == "http://10.0.0.2/v1"


def test_settings_that_cannot_be_are_listed():
    with pytest.raises(TextError) as caught:
        OpenAIBackend(
            "text-embedding-ada-002",
            dimensions=256,
            long="skip",
            batch=0,
            max_tokens=1,
        )
    for part in ("1536 dimensions", "long:", "batch", "max_tokens"):
        assert part in str(caught.value)


def test_a_key_has_to_be_there_and_whole(monkeypatch):
    elsewhere = OpenAIBackend("m", base_url="https://localhost.invalid/v1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(TextError, match="set the environment variable OPENAI_API_KEY"):
        list(elsewhere.embed(["text"]))
    monkeypatch.setenv("OPENAI_API_KEY", "sk two words")
    with pytest.raises(TextError, match="holds a space") as caught:
        list(elsewhere.embed(["text"]))
    assert "two" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (400, "This model's maximum context length is 8192 tokens, however", True),
        (400, "Invalid 'input': maximum 300000 tokens per request", True),
        (422, "inputs must have less than 512 tokens; input is too long", True),
        (413, "Payload Too Large", True),
        (400, "dimensions is not supported", False),
        (500, "context length", False),
    ],
)
def test_refusals_of_length(status, message, expected):
    assert is_too_long(status, message) is expected


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
