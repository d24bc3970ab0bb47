"""Embeddings from a server of OpenAI's protocol, over HTTP.

The key is read from an environment variable when a request is sent, and is nowhere
else: not in an attribute, a repr, a log, an error or a file. Texts go to the base URL
and to no other host: redirects are not followed. Batches, waits and tries again; what
is kept, and where, is `backend.py`'s.
"""

import os
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pathjax.data.text_store import TextError
from pathjax.optional_deps import need
from pathjax.text import openai_models
from pathjax.text.answer import read_answer
from pathjax.text.backend import mean
from pathjax.text.retry import (
    LONGEST_ASKED,
    asked_to_wait,
    backoff,
    is_too_long,
    is_transient,
)
from pathjax.text.tokens import counter, cut, halves, truncate

BASE_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
LOCAL = ("localhost", "127.0.0.1", "::1")
LONG = ("average", "truncate")
# An answer that was billed and is no good is asked for again so often, in a row.
BAD_ANSWERS = 3
SHORTEST = (
    64  # characters; a server that refuses these as too long means something else
)

Answers = list[tuple[int, np.ndarray]]


class _Failed(Exception):
    """A request that may succeed later: why, and the wait that was asked for."""

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class _TooLong(Exception):
    """The texts have more tokens than the server takes."""


def checked_url(url: str, *, insecure: bool = False) -> str:
    """The base URL, if reports and a key may be sent there.

    Raises:
      TextError: it is not https (unless local, or `insecure`), or holds a password.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise TextError(
            "the base URL holds a name, a password or a query, which would be written "
            f"down: wanted https://HOST/PATH; a key goes into ${KEY_VARIABLE}"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TextError(f"base URL {url!r} is none: wanted https://HOST/PATH")
    if parts.scheme == "http" and parts.hostname not in LOCAL and not insecure:
        raise TextError(
            f"base URL {url} is not encrypted: reports and the key could be read on "
            "their way. Use https, or name --insecure if the network is yours"
        )
    return url.rstrip("/")


class OpenAIBackend:
    """A model behind a server of OpenAI's protocol.

    Args:
      model: its name there.
      base_url: of the server; $OPENAI_BASE_URL or OpenAI's if None.
      key_variable: the environment variable that holds the key. A local server may do
        without.
      dimensions: T, for models that can shorten their vectors.
      max_tokens: of a text; the model's if None, 512 for an unknown one.
      long: what happens to longer texts: "average" of their pieces, or "truncate".
      batch: texts per request at most.
      request_tokens: tokens per request at most.
      retries: failures in a row before it gives up.
      timeout: seconds to wait for a connection, or for more of an answer.
      insecure: allows http to other machines.
      sleep: waits; tests give their own.

    Raises:
      TextError: the URL, or a setting, cannot be.
      RuntimeError: the package openai is missing.
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
        sleep: Callable[[float], None] = time.sleep,
    ):
        known = openai_models.MODELS.get(model, openai_models.UNKNOWN)
        url = base_url or os.environ.get("OPENAI_BASE_URL") or BASE_URL
        problems = []
        if long not in LONG:
            problems.append(f"long is {long!r}, wanted {' or '.join(LONG)}")
        if not 1 <= batch <= openai_models.MAX_TEXTS:
            problems.append(f"batch is {batch}, wanted 1 to {openai_models.MAX_TEXTS}")
        if not 1 <= request_tokens <= openai_models.MAX_REQUEST_TOKENS:
            wanted = f"1 to {openai_models.MAX_REQUEST_TOKENS}"
            problems.append(f"request_tokens is {request_tokens}, wanted {wanted}")
        if max_tokens is not None and max_tokens < 8:
            problems.append(f"max_tokens is {max_tokens}, wanted 8 or more")
        if dimensions is not None and not known.shortens:
            problems.append(f"{model} has {known.dimensions} dimensions, no others")
        if problems:
            raise TextError("; ".join(problems))
        need("openai", "text")
        self.model, self.known = model, known
        self.base_url = checked_url(url, insecure=insecure)
        self.local = urllib.parse.urlsplit(url).hostname in LOCAL
        self.count, self.counted = counter(known.encoding)
        self.max_tokens = max_tokens or known.max_tokens
        self.billed = 0  # tokens, as the server says
        self._key_variable, self._dimensions = key_variable, dimensions
        self._long, self._batch, self._request_tokens = long, batch, request_tokens
        self._retries, self._timeout, self._sleep = retries, timeout, sleep
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
        """One piece, or several of `max_tokens` at most; or the beginning."""
        if self._long == "average" or self.count(text) <= self.max_tokens:
            return cut(text, self.max_tokens, self.count)
        return [truncate(text.strip(), self.max_tokens, self.count)]

    def embed(self, pieces: Sequence[str]) -> Iterator[Answers]:
        """Asks for vectors batch by batch; yields each answer before the next request.

        Raises:
          TextError: the server refuses, or fails too often.
        """
        # Connections are kept open; it knows no key.
        http = need("openai", "text").DefaultHttpxClient(
            timeout=self._timeout, follow_redirects=False
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
        """Vectors of one batch; only what is still missing is asked for again."""
        missing = list(range(len(texts)))
        failures = bad = 0
        while missing:
            try:
                content = self._send([texts[i] for i in missing])
            except _TooLong:
                yield from self._in_two(texts, missing)
                return
            except _Failed as failed:
                failures += 1
                if failures > self._retries:
                    raise TextError(
                        f"{self.base_url} failed {failures} times in a row, last: "
                        f"{failed}. What was answered is kept: run it again later"
                    ) from None
                self._sleep(backoff(failures, failed.wait))
                continue
            found, faults, billed = read_answer(content, len(missing), self._width)
            self.billed += billed
            if found:
                self._width = self._width or len(next(iter(found.values())))
                yield [(missing[i], vector) for i, vector in sorted(found.items())]
            missing = [one for i, one in enumerate(missing) if i not in found]
            failures, bad = 0, 0 if found else bad + 1
            if missing and bad == BAD_ANSWERS:
                raise TextError(
                    f"{self.base_url} answered badly {bad} times in a row for model "
                    f"{self.model}: {'; '.join(faults)}. What was sound is kept"
                )
            if missing:
                self._sleep(backoff(bad, None))

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
        found = {i: one for answers in self._ask(parts) for i, one in answers}
        yield [(missing[0], mean([(len(parts[i]), one) for i, one in found.items()]))]

    def _send(self, texts: list[str]) -> bytes:
        """One request; the body of the answer.

        Raises:
          TextError: refused for good.
          _Failed, _TooLong: see there.
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
        # A client a request: none outlives it, and with it the key.
        client = openai.OpenAI(
            api_key=key, base_url=self.base_url, max_retries=0, http_client=self._http
        )
        try:
            return client.embeddings.with_raw_response.create(
                model=self.model, input=texts, encoding_format="float", **extra
            ).content
        except openai.APIStatusError as error:
            return self._refused(error, key)
        except openai.APITimeoutError:
            return _Failed(f"no answer for {self._timeout:g} s")
        except openai.APIConnectionError as error:
            reason = str(error.__cause__ or error).replace(key, "[key]")
            return _Failed(f"no connection ({reason[:200]})")

    def _key(self) -> str:
        key = os.environ.get(self._key_variable, "").strip()
        if not key and not self.local:
            raise TextError(
                f"there is no key for {self.base_url}: set the environment variable "
                f"{self._key_variable}"
            )
        if not re.fullmatch(r"[!-~]*", key):
            # The package would quote it in its error.
            raise TextError(
                f"the key in ${self._key_variable} holds a space, a line break or a "
                "character that no key has"
            )
        return key or "none"

    def _refused(self, error: Any, key: str) -> Exception:
        """What an answer with an error's status means."""
        status = error.status_code
        message = str(error.message).replace(key, "[key]")[:300]
        if is_too_long(status, message):
            return _TooLong()
        wait = asked_to_wait(error.response.headers)
        if wait is not None and wait > LONGEST_ASKED:
            return TextError(
                f"{self.base_url} asks to wait {wait:.0f} s (status {status}): run it "
                "again then; what was answered is kept"
            )
        if is_transient(status, error.code):
            return _Failed(f"status {status}", wait)
        if status in (401, 403):  # whose message may hold parts of the key
            return TextError(
                f"{self.base_url} refuses the key in ${self._key_variable} (status "
                f"{status})"
            )
        if 300 <= status < 400:
            return TextError(
                f"{self.base_url} sends elsewhere (status {status}): name the right "
                "base URL; reports are not sent after a redirect"
            )
        return TextError(f"{self.base_url} refuses (status {status}): {message}")
