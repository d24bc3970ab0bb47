"""When it is tried again, and after how long."""

import email.utils
import time

import pytest

from pathjax.text.retry import asked_to_wait, backoff, is_too_long, is_transient


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_failures_that_pass(status):
    assert is_transient(status, None)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_failures_that_stay(status):
    assert not is_transient(status, None)


def test_a_quota_that_is_used_up_does_not_come_back():
    assert not is_transient(429, "insufficient_quota")


@pytest.mark.parametrize(
    ("status", "message", "wanted"),
    [
        (400, "This model's maximum context length is 8192 tokens, however", True),
        (400, "Invalid 'input': maximum 300000 tokens per request", True),
        (422, "inputs must have less than 512 tokens; input is too long", True),
        (413, "Payload Too Large", True),
        (400, "dimensions is not supported", False),
        (500, "context length", False),
    ],
)
def test_refusals_of_length(status, message, wanted):
    assert is_too_long(status, message) is wanted


def test_retry_after_is_seconds_milliseconds_or_a_date():
    assert asked_to_wait({"retry-after": "7"}) == 7
    assert asked_to_wait({"retry-after": "0.5"}) == 0.5
    assert asked_to_wait({"retry-after": "9", "retry-after-ms": "250"}) == 0.25
    date = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 95 < asked_to_wait({"retry-after": date}) <= 100
    assert asked_to_wait({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    assert asked_to_wait({}) is None and asked_to_wait({"retry-after": "soon"}) is None


def test_waits_double_to_a_minute_and_are_never_shorter_than_asked():
    for failures, longest in ((1, 0.5), (2, 1), (4, 4), (8, 60), (10_000, 60)):
        waits = [backoff(failures, None) for _ in range(50)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
        assert len(set(waits)) > 10  # jitter
    assert backoff(1, 30.0) == 30
