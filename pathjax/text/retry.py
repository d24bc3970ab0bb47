"""When a request failed: whether to send it again, and after how long."""

import email.utils
import random
import re
import time
from collections.abc import Mapping

# Answers that another try may change: RFC 9110 (408, 5xx), RFC 6585 (429); 409 is what
# OpenAI answers to a lock that could not be had.
TRANSIENT = (408, 409, 429)
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0  # s
# A server that asks for more than this will not be waited for.
LONGEST_ASKED = 600.0  # s
# "This model's maximum context length is 8192 tokens", "input is too long", ...
TOO_LONG = re.compile(
    r"context.length|too.long|too.many.tokens|max\w*.(input.)?(context|token)|"
    r"tokens.per.request|longer than",
    re.IGNORECASE,
)


def is_transient(status: int, code: str | None) -> bool:
    """True when the same request may succeed later.

    Args:
      status: of HTTP.
      code: OpenAI's; a quota that is used up is a 429 that no waiting helps.
    """
    if code == "insufficient_quota":
        return False
    return status in TRANSIENT or status >= 500


def is_too_long(status: int, message: str) -> bool:
    """True when the texts have more tokens than the model, or a request, takes."""
    return status == 413 or (status in (400, 422) and bool(TOO_LONG.search(message)))


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After (a number or a date, RFC 9110) or `retry-after-ms`."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            parsed = email.utils.parsedate_tz(value)
            if parsed:
                return max(0.0, email.utils.mktime_tz(parsed) - time.time())
    return None


def backoff(failures: int, asked: float | None) -> float:
    """Seconds to wait after so many failures in a row, with jitter.

    Doubles from half a second to a minute, less up to half at random, so that many
    clients do not come back together. Never less than the server asked for.
    """
    own = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 30))
    own *= 1 - 0.5 * random.random()
    return own if asked is None else max(own, asked)
