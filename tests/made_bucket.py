"""Object stores for tests, with faults: in memory, and servers of S3 and GCS on loopback."""

import contextlib
import email.message
import importlib
import io
import itertools
import os
import socket
import threading
import time
import types
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


class Server:
    """A store's server behind a layer that cuts, slows and refuses what it is told to.

    Attributes:
      fault: (method, path) -> "cut", "slow", a status such as "503 Slow Down", or None;
        asked for each request.
      asked: Methods and paths of all requests.
      sent: Bytes of all answers.
    """

    def __init__(self) -> None:
        self.fault: Callable[[str, str], str | None] = lambda method, path: None
        self.asked: list[str] = []
        self.sent = 0

    def wrap(self, application):
        def answer(environ, start):
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            self.asked.append(f"{method} {path}")
            word = self.fault(method, path) or ""
            if word[:1].isdigit():
                start(word, [("Content-Length", "0")])
                return [b""]
            if word == "cut" and method != "GET":  # nothing of it reaches the store
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionResetError
            body = b"".join(application(environ, start))
            self.sent += len(body)
            return self._faulty(word, body) if word else [body]

        return answer

    def _faulty(self, word, body):
        for part in (body[: len(body) // 2], body[len(body) // 2 :]):
            yield part
            if word == "cut":
                raise ConnectionResetError
            time.sleep(0.3)


def moto_application():
    """moto's S3, which keeps its objects between servers of a process."""
    moto = importlib.import_module("moto.moto_server.werkzeug_app")
    return moto.DomainDispatcherApplication(moto.create_backend_app)


def gcs_application():
    """gcp-storage-emulator's handlers, without its server of one thread."""
    emulator = importlib.import_module("gcp_storage_emulator.server")
    storage, lock = emulator.Storage(use_memory_fs=True), threading.Lock()

    def application(environ, start):
        head, body, sent = [], io.BytesIO(), environ["wsgi.input"]
        if environ.get("CONTENT_TYPE", "").startswith("multipart/related"):
            # gcsfs ends the content with LF and its boundary. The emulator takes CR and
            # LF for one line end, so content that ends with CR would lose it.
            content = sent.read(int(environ["CONTENT_LENGTH"]))
            content = content.removesuffix(b"\n--==0==--") + b"\r\n--==0==--"
            environ["CONTENT_LENGTH"] = str(len(content))
            sent = io.BytesIO(content)
        request = types.SimpleNamespace(
            path=environ["REQUEST_URI"],
            headers=email.message.Message(),
            rfile=sent,
            wfile=body,
            storage=storage,
            server=types.SimpleNamespace(
                server_address=environ["HTTP_HOST"].split(":")
            ),
            send_response=lambda status, phrase: head.append(f"{status} {phrase}"),
            send_header=lambda name, value: head.append((name, value)),
            end_headers=lambda: None,
        )
        headers = importlib.import_module("werkzeug.datastructures").EnvironHeaders
        for name, value in headers(environ):
            request.headers[name] = value
        with lock:
            emulator.Router(request).handle(environ["REQUEST_METHOD"])
        start(head[0], head[1:])
        return [body.getvalue()]

    return application


# What a process needs in its environment, with the server's address for {}.
S3_ENVIRONMENT = {
    "AWS_ENDPOINT_URL": "{}",
    "AWS_ACCESS_KEY_ID": "testing-key",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
GCS_ENVIRONMENT = {
    "STORAGE_EMULATOR_HOST": "{}",
    "NO_GCE_CHECK": "true",
}
SERVERS = {
    "s3": (moto_application, S3_ENVIRONMENT, ("s3fs", "moto", "flask_cors")),
    "gs": (gcs_application, GCS_ENVIRONMENT, ("gcsfs", "gcp_storage_emulator")),
}


@contextlib.contextmanager
def bucket_server(scheme, monkeypatch):
    """Runs a server; yields it, with bucket `bkt` and this process's credentials set."""
    make, environment, modules = SERVERS[scheme]
    # Read by gcsfs when it is imported: it would ask for the kind of a bucket by gRPC.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    for module in ("werkzeug", *modules):
        need(module)
    serving = importlib.import_module("werkzeug.serving")

    class Quiet(serving.WSGIRequestHandler):
        def log(self, *args):
            pass

        def handle(self):
            with contextlib.suppress(OSError):
                super().handle()

    made = Server()
    server = serving.make_server(
        "127.0.0.1", 0, made.wrap(make()), threaded=True, request_handler=Quiet
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(address))
    file_system = fsspec.get_filesystem_class(scheme)
    file_system.clear_instance_cache()
    if scheme == "s3":
        urllib.request.urlopen(f"{address}/moto-api/reset", data=b"").close()
    else:  # waits of seconds between its attempts
        monkeypatch.setattr("gcsfs.retry.asyncio", types.SimpleNamespace(sleep=no_wait))
    try:
        fsspec.filesystem(scheme, use_listings_cache=False).mkdir("bkt")
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        file_system.clear_instance_cache()


async def no_wait(seconds):
    pass


def nth(operations: set[str], number: int, word: str = "cut", times: int = 1):
    """A fault that hits the n-th of these operations, and those after it, `times`."""
    count = itertools.count()

    def fault(operation: str, key: str) -> str | None:
        if operation not in operations:
            return None
        return word if number <= next(count) < number + times else None

    return fault
