"""Embeddings over HTTP from a server that speaks OpenAI's protocol.

The key is read from an environment variable for each request and is kept nowhere: not
in an attribute, a repr, a log, an error or a file. Texts go to the base URL only:
redirects are not followed. The `openai` client retries; this module batches, checks
answers and cuts texts that the server finds too long. `backend.py` caches.
"""

import os
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pathjax.data.text_store import TextError
from pathjax.optional_deps import need
from pathjax.text import openai_models
from pathjax.text.answer import read_answer
from pathjax.text.backend import mean
from pathjax.text.tokens import counter, cut, halves, truncate

BASE_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
LOCAL = ("localhost", "127.0.0.1", "::1")
LONG = ("average", "truncate")
# Consecutive answers without a valid vector (each may be billed) before giving up.
BAD_ANSWERS = 3
# Characters. A server that rejects shorter texts as too long means something else.
SHORTEST = 64
# "This model's maximum context length is 8192 tokens", "input is too long", ...
TOO_LONG = re.compile(
    r"context.length|too.long|too.many.tokens|max\w*.(input.)?(context|token)|"
    r"tokens.per.request|longer than",
    re.IGNORECASE,
)

Answers = list[tuple[int, np.ndarray]]


class _TooLong(Exception):
    """The texts have more tokens than the server accepts."""


def is_too_long(status: int, message: str) -> bool:
    """True when the texts have more tokens than the model, or a request, accepts."""
    return status == 413 or (status in (400, 422) and bool(TOO_LONG.search(message)))


def checked_url(url: str, *, insecure: bool = False) -> str:
    """The base URL, if reports and a key may be sent there.

    Raises:
      TextError: It is not https (unless local or `insecure`), or holds a password.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise TextError(
            "the base URL holds a name, a password or a query, which would be written "
            f"to files; expected https://HOST/PATH, with the key in ${KEY_VARIABLE}"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TextError(f"expected a base URL https://HOST/PATH, got {url!r}")
    if parts.scheme == "http" and parts.hostname not in LOCAL and not insecure:
        raise TextError(
            f"base URL {url} is not encrypted: others could read the reports and the "
            "key. Use https, or --insecure if the network is yours"
        )
    return url.rstrip("/")


class OpenAIBackend:
    """A model behind a server of OpenAI's protocol.

    Args:
      model: Name of the model on the server.
      base_url: URL of the server; $OPENAI_BASE_URL or OpenAI's if None.
      key_variable: Environment variable that holds the key. Optional for a local server.
      dimensions: Vector length T, for models that can shorten their vectors.
      max_tokens: Longest text; the model's limit if None, 512 for an unknown model.
      long: "average" the pieces of longer texts, or "truncate" them.
      batch: Maximum texts per request.
      request_tokens: Maximum tokens per request.
      retries: Failed requests in a row that are retried.
      timeout: Seconds to wait for a connection, or for more of an answer.
      insecure: Allow http to other machines.

    Raises:
      TextError: Invalid URL or setting.
      RuntimeError: The package openai is missing.
    """

    name = "openai"

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        key_variable: str = KEY_VARIABLE,
        dimensions: int | None = None,
        max_tokens: int | None = None,
        long: str = "average",
        batch: int = 64,
        request_tokens: int = 100_000,
        retries: int = 8,
        timeout: float = 60.0,
        insecure: bool = False,
    ):
        known = openai_models.MODELS.get(model, openai_models.UNKNOWN)
        url = base_url or os.environ.get("OPENAI_BASE_URL") or BASE_URL
        limits = openai_models.MAX_TEXTS, openai_models.MAX_REQUEST_TOKENS
        problems = []
        if long not in LONG:
            problems.append(f"long: expected {' or '.join(LONG)}, got {long!r}")
        if not 1 <= batch <= limits[0]:
            problems.append(f"batch: expected 1 to {limits[0]}, got {batch}")
        if not 1 <= request_tokens <= limits[1]:
            expected = f"expected 1 to {limits[1]}, got {request_tokens}"
            problems.append(f"request_tokens: {expected}")
        if max_tokens is not None and max_tokens < 8:
            problems.append(f"max_tokens: expected 8 or more, got {max_tokens}")
        if dimensions is not None and not known.shortens:
            problems.append(f"{model} always has {known.dimensions} dimensions")
        if problems:
            raise TextError("; ".join(problems))
        need("openai", "text")
        self.model, self.known = model, known
        self.base_url = checked_url(url, insecure=insecure)
        self.local = urllib.parse.urlsplit(url).hostname in LOCAL
        self.count, self.counted = counter(known.encoding)
        self.max_tokens = max_tokens or known.max_tokens
        self.billed = 0  # tokens, as stated by the server
        self._key_variable, self._dimensions = key_variable, dimensions
        self._long, self._batch, self._request_tokens = long, batch, request_tokens
        self._retries, self._timeout = retries, timeout
        self._width = dimensions or known.dimensions

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "backend": self.name,
            "model": self.model,
            "base_url": self.base_url,
            "dimensions": self._dimensions,
        }

    def pieces(self, text: str) -> list[str]:
        """One piece, or several of at most `max_tokens`; or the beginning."""
        if self._long == "average" or self.count(text) <= self.max_tokens:
            return cut(text, self.max_tokens, self.count)
        return [truncate(text.strip(), self.max_tokens, self.count)]

    def embed(self, pieces: Sequence[str]) -> Iterator[Answers]:
        """Requests vectors batch by batch; yields each answer before the next request.

        Raises:
          TextError: The server refuses, or fails too often.
        """
        # Keeps connections open; it does not know the key.
        http = need("openai", "text").DefaultHttpxClient(
            timeout=self._timeout,
            follow_redirects=False,
            event_hooks={"response": [_do_not_retry_used_up_quota]},
        )
        with http as self._http:
            for rows in self._batches(pieces):
                for answers in self._ask([pieces[row] for row in rows]):
                    yield [(rows[i], vector) for i, vector in answers]

    def _batches(self, pieces: Sequence[str]) -> Iterator[list[int]]:
        rows: list[int] = []
        tokens = 0
        for row, piece in enumerate(pieces):
            more = self.count(piece)
            full = len(rows) == self._batch or tokens + more > self._request_tokens
            if rows and full:
                yield rows
                rows, tokens = [], 0
            rows.append(row)
            tokens += more
        if rows:
            yield rows

    def _ask(self, texts: list[str]) -> Iterator[Answers]:
        """Vectors of one batch; only what is still missing is requested again."""
        missing = list(range(len(texts)))
        bad = 0
        while missing:
            try:
                content = self._send([texts[i] for i in missing])
            except _TooLong:
                yield from self._in_two(texts, missing)
                return
            found, problems, billed = read_answer(content, len(missing), self._width)
            self.billed += billed
            if found:
                self._width = self._width or len(next(iter(found.values())))
                yield [(missing[i], vector) for i, vector in sorted(found.items())]
            missing = [row for i, row in enumerate(missing) if i not in found]
            bad = 0 if found else bad + 1
            if missing and bad == BAD_ANSWERS:
                raise TextError(
                    f"{self.base_url} gave {bad} invalid answers in a row for model "
                    f"{self.model}: {'; '.join(problems)}. Valid vectors are cached"
                )

    def _in_two(self, texts: list[str], missing: list[int]) -> Iterator[Answers]:
        """Half the texts at a time; a single text as the mean of its halves."""
        if len(missing) > 1:
            middle = len(missing) // 2
            for some in (missing[:middle], missing[middle:]):
                for answers in self._ask([texts[i] for i in some]):
                    yield [(some[i], vector) for i, vector in answers]
            return
        text = texts[missing[0]]
        if len(text) < SHORTEST:
            raise TextError(
                f"{self.base_url} refuses a text of {len(text)} characters as too long"
            )
        if self._long == "truncate":
            parts = [halves(text)[0]]
        else:
            parts = [part for part in halves(text) if part.strip()]
        found = {i: vector for answers in self._ask(parts) for i, vector in answers}
        weighted = [(len(parts[i]), vector) for i, vector in found.items()]
        yield [(missing[0], mean(weighted))]

    def _send(self, texts: list[str]) -> bytes:
        """One request; the body of the answer.

        Raises:
          TextError: Refused, or failed after all retries.
          _TooLong: See there.
        """
        answer = self._request(texts)
        if isinstance(answer, Exception):
            # Raised here, where neither a variable nor a cause holds the key.
            raise answer
        return answer

    def _request(self, texts: list[str]) -> bytes | Exception:
        openai = need("openai", "text")
        key = self._key()
        extra = {"dimensions": self._dimensions} if self._dimensions else {}
        # One client per request, so that the key does not outlive it.
        client = openai.OpenAI(
            api_key=key,
            base_url=self.base_url,
            max_retries=self._retries,
            http_client=self._http,
        )
        try:
            return client.embeddings.with_raw_response.create(
                model=self.model, input=texts, encoding_format="float", **extra
            ).content
        except openai.APIStatusError as error:
            return self._refused(error, key)
        except openai.APITimeoutError:
            return self._failed(f"no answer for {self._timeout:g} s")
        except openai.APIConnectionError as error:
            reason = str(error.__cause__ or error).replace(key, "[key]")
            return self._failed(f"no connection ({reason[:200]})")

    def _key(self) -> str:
        key = os.environ.get(self._key_variable, "").strip()
        if not key and not self.local:
            raise TextError(
                f"there is no key for {self.base_url}: set the environment variable "
                f"{self._key_variable}"
            )
        if not re.fullmatch(r"[!-~]*", key):
            # The client would quote the key in its error.
            raise TextError(
                f"the key in ${self._key_variable} holds a space, a line break or a "
                "character that no key has"
            )
        return key or "none"

    def _failed(self, reason: str) -> TextError:
        return TextError(
            f"{self.base_url} failed {self._retries + 1} times in a row, last: "
            f"{reason}. Earlier answers are cached: run it again later"
        )

    def _refused(self, error: Any, key: str) -> Exception:
        """What an error status means, after the client's retries."""
        status = error.status_code
        message = str(error.message).replace(key, "[key]")[:300]
        if is_too_long(status, message):
            return _TooLong()
        refuses = f"{self.base_url} refuses (status {status})"
        if status in (401, 403):  # the message may hold parts of the key
            return TextError(f"{refuses} the key in ${self._key_variable}")
        if 300 <= status < 400:
            return TextError(
                f"{self.base_url} redirects (status {status}): give the final base "
                "URL; reports are not sent after a redirect"
            )
        wait = error.response.headers.get("retry-after", "")
        if wait and status in (429, 503) and error.code != "insufficient_quota":
            return TextError(
                f"{self.base_url} is busy (status {status}, Retry-After {wait}): run it "
                "again then; earlier answers are cached"
            )
        transient = status in (408, 409, 429) or status >= 500
        if transient and error.code != "insufficient_quota":
            return self._failed(f"status {status}")
        return TextError(f"{refuses}: {message}")


def _do_not_retry_used_up_quota(response: Any) -> None:
    """Tells the client that waiting does not help, by the header that it obeys."""
    if response.status_code == 429 and b"insufficient_quota" in response.read():
        response.headers["x-should-retry"] = "false"
