"""Embeddings over HTTP from a server that speaks OpenAI's protocol.

The key is read from an environment variable for each request and is kept nowhere: not
in an attribute, a repr, a log, an error or a file. Texts go to the base URL only:
redirects are not followed. The `openai` client retries; this module batches, checks
answers and cuts texts that the server finds too long. `embed.py` caches.
"""

import collections
import dataclasses
import json
import os
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from pathjax.data.text_store import TextError
from pathjax.optional_deps import need
from pathjax.text.embed import Answers, mean
from pathjax.text.tokens import LONG, counter, halves, split

BASE_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
LOCAL = ("localhost", "127.0.0.1", "::1")
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


@dataclasses.dataclass(frozen=True)
class Model:
    """What is known of an embedding model; None is unknown."""

    dimensions: int | None
    max_tokens: int
    usd_per_million: float | None
    encoding: str | None  # tiktoken's name of its vocabulary
    shortens: bool  # whether it can return shorter vectors


# Limits: OpenAI's reference, "Create embeddings" (8,192 tokens a text; we stay one
# below, as its guide gives 8,191). Prices: developers.openai.com/api/docs/models and
# /api/docs/pricing, standard tier. They change: --price.
MODELS = {
    "text-embedding-ada-002": Model(1536, 8191, 0.10, "cl100k_base", False),
    "text-embedding-3-small": Model(1536, 8191, 0.02, "cl100k_base", True),
    "text-embedding-3-large": Model(3072, 8191, 0.13, "cl100k_base", True),
}
PRICES_SEEN = "November 2026"
# Most sentence encoders behind servers of this protocol take 512 tokens.
UNKNOWN = Model(None, 512, None, None, True)
MAX_TEXTS = 2048  # of one request (the same reference)
REQUEST_TOKENS = 100_000  # of one request; OpenAI accepts 300,000


class _TooLong(Exception):
    """The texts have more tokens than the server accepts."""


def is_too_long(status: int, message: str) -> bool:
    """Whether the texts have more tokens than the model, or a request, accepts."""
    return status == 413 or (status in (400, 422) and bool(TOO_LONG.search(message)))


def checked_url(url: str, *, insecure: bool = False) -> str:
    """The base URL, if reports and a key may be sent there.

    Raises:
      TextError: it is not https (unless local or `insecure`), or holds a password.
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


def read_answer(
    content: bytes, count: int, width: int | None
) -> tuple[dict[int, Float[np.ndarray, "T"]], list[str], int]:
    """The valid vectors of an answer; they are kept even if others are not valid.

    {"data": [{"index": 0, "embedding": [...]}, ...], "usage": {"prompt_tokens": 5}}

    Args:
      content: Body of the answer.
      count: Number of texts sent.
      width: Expected length T of a vector; None takes the most common length.

    Returns:
      Vectors by index; problems; tokens billed (0 if not stated).
    """
    try:
        body = json.loads(content)
        entries = body["data"]
        if not isinstance(entries, list):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        return {}, ["the answer is no JSON with a list of data"], 0
    problems, valid = set(), []
    for entry in entries:
        try:
            valid.append(_read_entry(entry, count))
        except ValueError as error:
            problems.add(str(error))
    if width is None and valid:
        lengths = collections.Counter(len(vector) for _, vector in valid)
        width = lengths.most_common(1)[0][0]
    vectors: dict[int, np.ndarray] = {}
    ambiguous = set()
    for index, vector in valid:
        if len(vector) != width:
            problems.add(f"a vector of {len(vector)} numbers, expected {width}")
        elif not np.array_equal(vectors.setdefault(index, vector), vector):
            problems.add("two vectors for one text")
            ambiguous.add(index)
    if len(entries) < count:
        problems.add(f"{len(entries)} vectors for {count} texts")
    usage = body.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    billed = tokens if type(tokens) is int and tokens > 0 else 0
    clear = {i: vector for i, vector in vectors.items() if i not in ambiguous}
    return clear, sorted(problems), billed


def _read_entry(entry: Any, count: int) -> tuple[int, np.ndarray]:
    """Index and vector of one entry; ValueError says what is wrong with it."""
    index = entry.get("index") if isinstance(entry, dict) else None
    if type(index) is not int or not 0 <= index < count:
        raise ValueError("a vector of no text that was sent")
    try:
        vector = np.asarray(entry.get("embedding"), np.float32)
    except (ValueError, TypeError, OverflowError):
        vector = np.empty(0, np.float32)
    if vector.ndim != 1 or not vector.size:
        raise ValueError("a vector that is no list of numbers")
    if not np.isfinite(vector).all() or not vector.any():
        raise ValueError("a vector that is not finite, or all zero")
    return index, vector


class OpenAIBackend:
    """A model behind a server of OpenAI's protocol; see `embed.Backend`.

    Args:
      model: Name of the model on the server.
      base_url: URL of the server; $OPENAI_BASE_URL or OpenAI's if None.
      key_variable: Environment variable that holds the key. Optional for a local server.
      dimensions: Vector length T, for models that can shorten their vectors.
      max_tokens: Longest text; the model's limit if None, 512 for an unknown model.
      long: "average" the pieces of longer texts, or "truncate" them.
      batch: Maximum texts per request.
      retries: Failed requests in a row that are retried.
      timeout: Seconds to wait for a connection, or for more of an answer.
      insecure: Allow http to other machines.

    Raises:
      TextError: invalid URL or setting.
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
        retries: int = 8,
        timeout: float = 60.0,
        insecure: bool = False,
    ):
        known = MODELS.get(model, UNKNOWN)
        url = base_url or os.environ.get("OPENAI_BASE_URL") or BASE_URL
        problems = []
        if long not in LONG:
            problems.append(f"long: expected {' or '.join(LONG)}, got {long!r}")
        if not 1 <= batch <= MAX_TEXTS:
            problems.append(f"batch: expected 1 to {MAX_TEXTS}, got {batch}")
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
        self._long, self._batch = long, batch
        self._retries, self._timeout = retries, timeout
        self._width = dimensions or known.dimensions

    @property
    def settings(self) -> dict[str, Any]:
        # A piece that the server finds too long is cut in one way or the other.
        cut = {"long": self._long} if self._long == "truncate" else {}
        return {
            "backend": self.name,
            "model": self.model,
            "base_url": self.base_url,
            "dimensions": self._dimensions,
            **cut,
        }

    def pieces(self, text: str) -> list[str]:
        return split(text, self.max_tokens, self.count, self._long)

    def embed(self, pieces: Sequence[str]) -> Iterator[Answers]:
        """Requests vectors batch by batch; yields each answer before the next request.

        Raises:
          TextError: the server refuses, or fails too often.
        """
        # Keeps connections open; it does not know the key.
        http = need("openai", "text").DefaultHttpxClient(
            timeout=self._timeout,
            follow_redirects=False,
            event_hooks={"response": [_do_not_retry_used_up_quota]},
        )
        with http as self._http:
            for rows in self._batches(pieces):
                yield from self._ask(pieces, rows)

    def _batches(self, pieces: Sequence[str]) -> Iterator[list[int]]:
        rows: list[int] = []
        tokens = 0
        for row, piece in enumerate(pieces):
            more = self.count(piece)
            full = len(rows) == self._batch or tokens + more > REQUEST_TOKENS
            if rows and full:
                yield rows
                rows, tokens = [], 0
            rows.append(row)
            tokens += more
        if rows:
            yield rows

    def _ask(self, texts: Sequence[str], rows: list[int]) -> Iterator[Answers]:
        """Vectors of some rows; only what is still missing is requested again."""
        missing, bad = rows, 0
        while missing:
            try:
                content = self._send([texts[row] for row in missing])
            except _TooLong:
                yield from self._ask_halves(texts, missing)
                return
            vectors, problems, billed = read_answer(content, len(missing), self._width)
            self.billed += billed
            if vectors:
                self._width = self._width or len(next(iter(vectors.values())))
                yield [(missing[i], vector) for i, vector in sorted(vectors.items())]
            missing = [row for i, row in enumerate(missing) if i not in vectors]
            bad = 0 if vectors else bad + 1
            if missing and bad == BAD_ANSWERS:
                raise TextError(
                    f"{self.base_url} gave {bad} invalid answers in a row for model "
                    f"{self.model}: {'; '.join(problems)}. Valid vectors are cached"
                )

    def _ask_halves(self, texts: Sequence[str], rows: list[int]) -> Iterator[Answers]:
        """Half the rows at a time; a single text as the mean of its halves."""
        if len(rows) > 1:
            middle = len(rows) // 2
            yield from self._ask(texts, rows[:middle])
            yield from self._ask(texts, rows[middle:])
            return
        text = texts[rows[0]]
        if len(text) < SHORTEST:
            raise TextError(
                f"{self.base_url} refuses a text of {len(text)} characters as too long"
            )
        parts = [part for part in halves(text) if part.strip()]
        if self._long == "truncate":
            parts = parts[:1]
        answers = self._ask(parts, list(range(len(parts))))
        weighted = [(len(parts[i]), vector) for some in answers for i, vector in some]
        yield [(rows[0], mean(weighted))]

    def _send(self, texts: list[str]) -> bytes:
        """The body of the answer to one request; raises TextError or _TooLong."""
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
        if error.code == "insufficient_quota":
            return TextError(f"{refuses}: {message}")
        wait = error.response.headers.get("retry-after", "")
        if wait and status in (429, 503):
            return TextError(
                f"{self.base_url} is busy (status {status}, Retry-After {wait}): run it "
                "again then; earlier answers are cached"
            )
        if status in (408, 409, 429) or status >= 500:
            return self._failed(f"status {status}")
        return TextError(f"{refuses}: {message}")


def _do_not_retry_used_up_quota(response: Any) -> None:
    """Tells the client that waiting does not help, by the header that it obeys."""
    if response.status_code == 429 and b"insufficient_quota" in response.read():
        response.headers["x-should-retry"] = "false"
