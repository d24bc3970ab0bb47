"""Object stores for tests, with faults: in memory, and moto's S3 server on loopback."""

import contextlib
import importlib
import itertools
import os
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import fsspec
from extras import need
from fsspec.implementations.memory import MemoryFileSystem

from pathjax.buckets import cache, store


class Faulty(MemoryFileSystem):
    """faulty://: objects in memory; `fault(operation, key)` may raise, or return a word.

    "cut" ends a transfer after half of it, and "hide" leaves an object out of listings.
    """

    protocol = "faulty"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    cacheable = False

    @staticmethod
    def fault(operation: str, key: str) -> str | None:
        return None

    def find(self, path, **options):
        found = super().find(path, **options)
        return {k: v for k, v in found.items() if self.fault("list", k) != "hide"}

    def info(self, path, **options):
        self.fault("stat", path)
        return super().info(path, **options)

    def get_file(self, key, path, **options):
        word = self.fault("get", key)
        super().get_file(key, path, **options)
        if word == "cut":
            os.truncate(path, os.path.getsize(path) // 2)
            raise ConnectionResetError("the connection was cut")

    def put_file(self, path, key, **options):
        if self.fault("put", key) == "cut":  # a store drops a body that is cut short
            raise ConnectionResetError("the connection was cut")
        super().put_file(path, key, **options)

    def pipe_file(self, key, value, **options):
        if self.fault("put", key) == "cut":
            raise ConnectionResetError("the connection was cut")
        super().pipe_file(key, value, **options)

    def rm_file(self, key):
        self.fault("remove", key)
        super().rm_file(key)


def empty_store() -> Faulty:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    Faulty.fault = staticmethod(lambda operation, key: None)
    Faulty.store.clear()
    Faulty.pseudo_dirs[:] = [""]
    return Faulty()


def another_machine(folder: Path, monkeypatch) -> Path:
    """An empty cache, and a process that has used no address yet; its folder of copies."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setattr(store, "WAITS", (0, 0, 0))
    for pin in cache._pulled.values():
        pin.close()
    cache._pulled.clear()
    cache._stats.clear()
    return folder.resolve() / "pathjax" / "buckets" / "files"


class S3:
    """moto's server behind a layer that cuts, slows and hides what it is told to.

    Attributes:
      fault: (method, path) -> "cut", "slow", "busy" or None; asked for each request.
      hidden: Keys that listings leave out.
    """

    def __init__(self) -> None:
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.hidden: set[str] = set()
        self.asked: list[str] = []

    def wrap(self, application):
        def answer(environ, start):
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            self.asked.append(f"{method} {path}")
            word = self.fault(method, path)
            if word == "busy":
                start("503 Slow Down", [("Content-Length", "0")])
                return [b""]
            if word == "cut" and method == "PUT":  # nothing of it reaches the store
                raise ConnectionResetError
            if self.hidden and "list-type=2" in environ["QUERY_STRING"]:
                return self._without_hidden(application, environ, start)
            body = application(environ, start)
            return self._faulty(word, body) if word in ("cut", "slow") else body

        return answer

    def _faulty(self, word, body):
        whole = b"".join(body)
        for part in (whole[: len(whole) // 2], whole[len(whole) // 2 :]):
            yield part
            if word == "cut":
                raise ConnectionResetError
            time.sleep(0.3)

    def _without_hidden(self, application, environ, start):
        kept: list = []
        body = b"".join(application(environ, lambda *head: kept.extend(head)))
        for key in self.hidden:
            found = rb"<Contents>\s*<Key>%b</Key>.*?</Contents>" % re.escape(
                key.encode()
            )
            body = re.sub(found, b"", body, flags=re.DOTALL)
        head = [pair for pair in kept[1] if pair[0].lower() != "content-length"]
        start(kept[0], [*head, ("Content-Length", str(len(body)))])
        return [body]


@contextlib.contextmanager
def s3_server(monkeypatch):
    """Runs the server; yields it, with bucket `bkt` and this process's credentials set."""
    for module in ("s3fs", "moto", "flask_cors"):
        need(module)
    moto = importlib.import_module("moto.moto_server.werkzeug_app")
    serving = importlib.import_module("werkzeug.serving")

    class Quiet(serving.WSGIRequestHandler):
        def log(self, *args):
            pass

        def handle(self):
            with contextlib.suppress(OSError):
                super().handle()

    made = S3()
    application = made.wrap(moto.DomainDispatcherApplication(moto.create_backend_app))
    server = serving.make_server(
        "127.0.0.1", 0, application, threaded=True, request_handler=Quiet
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing-key",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    address = os.environ["AWS_ENDPOINT_URL"] + "/moto-api/reset"
    urllib.request.urlopen(address, data=b"").close()
    try:
        fsspec.filesystem("s3", use_listings_cache=False).mkdir("bkt")
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def nth(operations: set[str], number: int, word: str = "cut", times: int = 1):
    """A fault that hits the n-th of these operations, and those after it, `times`."""
    count = itertools.count()

    def fault(operation: str, key: str) -> str | None:
        if operation not in operations:
            return None
        return word if number <= next(count) < number + times else None

    return fault
