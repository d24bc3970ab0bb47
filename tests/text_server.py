"""A server of OpenAI's protocol for embeddings that misbehaves as it is told to."""

import collections
import hashlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable

import numpy as np

WIDTH = 6
KEY = "sk-test-7f3a9c-secret"


def vector_of(text: str) -> list[float]:
    """What the server answers for a text: 6 numbers of unit length."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    values = np.random.default_rng(seed).normal(size=WIDTH)
    return (values / np.linalg.norm(values)).tolist()


class Server:
    """Answers requests by a script, one entry a request, and well after its end.

    Attributes:
      script: functions of a `Request` that answer it.
      paid: how often each text was answered with its right vector.
      requests: bodies and headers as they came.
      limit: characters of a text above which it is refused as too long.
    """

    def __init__(self):
        self.script: collections.deque[Callable] = collections.deque()
        self.paid: collections.Counter[str] = collections.Counter()
        self.requests: list[dict] = []
        self.limit: int | None = None
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers["Content-Length"])
                self.body = json.loads(self.rfile.read(length))
                self.server_state = server
                headers = {k.lower(): v for k, v in self.headers.items()}
                server.requests.append(
                    {"path": self.path, "headers": headers} | self.body
                )
                answer = server.script.popleft() if server.script else well
                answer(self)

            def log_message(self, *args):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def send(request, content: bytes, status: int = 200, headers=(), whole: bool = True):
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    for name, value in headers:
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(content if whole else content[: len(content) // 2])


def entries_of(request) -> list[dict]:
    return [
        {"object": "embedding", "index": i, "embedding": vector_of(text)}
        for i, text in enumerate(request.body["input"])
    ]


def send_entries(request, entries: list[dict]):
    """Sends vectors and counts those that are right as paid."""
    texts = request.body["input"]
    for entry in entries:
        if 0 <= entry["index"] < len(texts):
            text = texts[entry["index"]]
            if entry["embedding"] == vector_of(text):
                request.server_state.paid[text] += 1
    tokens = sum(len(text) // 2 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "model": "m", "data": entries, "usage": usage}
    send(request, json.dumps(body).encode())


def well(request):
    limit = request.server_state.limit
    if limit and any(len(text) > limit for text in request.body["input"]):
        refuse(400, "This model's maximum context length is 4 tokens")(request)
    else:
        send_entries(request, entries_of(request))


def refuse(status: int, message: str = "no", headers=(), code=None):
    body = json.dumps({"error": {"message": message, "code": code}}).encode()
    return lambda request: send(request, body, status, headers)


def throttle(seconds: str):
    return refuse(429, "slow down", [("Retry-After", seconds)])


def hang(request):
    time.sleep(0.6)  # longer than the tests' time-out
    request.close_connection = True


def drop(request):
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def drop_midway(request):
    send(request, json.dumps({"data": entries_of(request)}).encode(), whole=False)
    drop(request)


def shuffled(request):
    send_entries(request, entries_of(request)[::-1])


def too_few(request):
    entries = entries_of(request)
    send_entries(request, entries[: (len(entries) + 1) // 2])


def changed(first):
    """An answer whose first vector is another."""

    def answer(request):
        entries = entries_of(request)
        entries[0]["embedding"] = first
        send_entries(request, entries)

    return answer


def no_json(request):
    send(request, b'{"data": [{"index": 0, "embedding": [0.1, ')


def no_data(request):
    send(request, b'{"object": "list"}')


def a_page(request):
    send(request, b"<html>gateway</html>", headers=[("X-Kind", "html")])


def two_for_one(request):
    entries = entries_of(request)
    other = dict(entries[0], embedding=[1.0] * WIDTH)
    if len(entries) > 1:
        send_entries(request, [*entries[1:], other, dict(other, embedding=[2.0] * 6)])
    else:
        send_entries(request, [other, dict(other, embedding=[2.0] * WIDTH)])


def of_no_text(request):
    entries = entries_of(request)
    send_entries(request, [*entries, dict(entries[0], index=99)])
