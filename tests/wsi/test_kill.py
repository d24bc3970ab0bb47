"""Killed and cut off, then run again: the study is that of an undisturbed run.

Real processes: `pathjax tile` killed with SIGKILL, and a Dask cluster of a scheduler and
three workers, one of which is killed, whose client then loses its connection.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import slide_work
from made_slides import slide, write_tiff

from pathjax.data.check import check_study
from pathjax.data.study import Study
from pathjax.wsi.build import tile_study
from pathjax.wsi.options import TileOptions

pytestmark = pytest.mark.slow
SLIDES, SMALL = 20, TileOptions(tile_px=64)
TESTS = Path(slide_work.__file__).parent


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    for k in range(SLIDES):
        # One without mpp among them: a skipped slide has to come out the same too.
        mpp = None if k == 4 else 0.5
        write_tiff(folder / f"s{k:02d}.tif", slide(500, 600 + 20 * k, k), mpp)
    return folder


@pytest.fixture(scope="module")
def undisturbed(slides, tmp_path_factory):
    root = tmp_path_factory.mktemp("undisturbed") / "study"
    return tile_study(slides, root, SMALL, workers=1)


def content(root):
    """All files' bytes by name; of study.json all but when and how it was made."""
    found = {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    meta = json.loads(found.pop("study.json"))
    del meta["created"], meta["provenance"]["command"]
    return found, meta


def shards(root):
    """When each whole shard was written."""
    return {
        path.name: path.stat().st_mtime_ns
        for path in (root / "tiles").glob("*.array_record")
        if not path.name.startswith(".")
    }


def command(slides, root, workers):
    return [sys.executable, "-m", "pathjax", "tile", f"--slides={slides}",
            f"--out={root}", "--tile-px=64", f"--workers={workers}"]  # fmt: skip


def wait_for(true, process, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_amid_20_slides(slides, undisturbed, tmp_path, workers):
    root = tmp_path / "study"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(
        command(slides, root, workers), start_new_session=True, **quiet
    )
    try:
        wait_for(lambda: len(shards(root)) >= 7, process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = shards(root)
    assert 7 <= len(before) < SLIDES - 1 and not (root / "study.json").exists()
    subprocess.run(command(slides, root, workers), check=True, **quiet)
    assert content(root) == content(undisturbed.root)
    after = shards(root)
    twice = [name for name in before if before[name] != after[name]]
    assert len(twice) <= workers  # shard renamed, note not yet written


class Proxy:
    """Passes TCP on to a port of this machine until told to drop all connections."""

    def __init__(self, port: int):
        self._to, self._open = port, []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._open.append(near)
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open.append(far)
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    @staticmethod
    def _pass(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop(self):
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        # First none may come any more: a client that was cut off calls again.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self.drop()
        for end in (self._listener, *self._open):
            end.close()


@pytest.fixture
def cluster(tmp_path):
    """A scheduler's port, and the processes of its three workers."""
    file = tmp_path / "scheduler.json"
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    with contextlib.ExitStack() as stack:

        def start(*words):
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                env=environment,
                cwd=tmp_path,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = start("scheduler", "--host=127.0.0.1", "--port=0",
                          "--no-dashboard", f"--scheduler-file={file}")  # fmt: skip
        wait_for(file.exists, scheduler)
        wait_for(lambda: file.read_text().endswith("}"), scheduler)
        address = json.loads(file.read_text())["address"]
        workers = [
            start("worker", address, "--nthreads=1", "--no-nanny", "--no-dashboard")
            for _ in range(3)
        ]
        yield int(address.rsplit(":", 1)[1]), workers


# `pathjax tile`, slowed so that there is time to disturb it.
SLOW = """
import functools, sys, slide_work
from pathjax.cli import main
from pathjax.wsi import build
build.tile_slide = functools.partial(slide_work.slow_tile, seconds=0.15)
sys.exit(main(sys.argv[1:]))
"""


def test_a_worker_dies_and_the_client_is_cut_off(
    slides, undisturbed, tmp_path, cluster
):
    port, workers = cluster
    root = tmp_path / "study"

    def start(port):
        words = command(slides, root, 1)[3:-1]
        return subprocess.Popen(
            [sys.executable, "-c", SLOW, *words, f"--scheduler=tcp://127.0.0.1:{port}"],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    # Closed last: the client calls again as soon as it is cut off.
    with contextlib.closing(Proxy(port)) as proxy, start(proxy.port) as client:
        wait_for(lambda: len(shards(root)) >= 4, client)
        early = shards(root)
        workers[0].kill()
        wait_for(lambda: len(shards(root)) >= 11, client)
        proxy.drop()
        said, _ = client.communicate(timeout=60)
    assert client.returncode == 1, said
    assert "went away: finished slides are kept" in " ".join(said.split())
    assert workers[0].wait() == -signal.SIGKILL
    assert not (root / "study.json").exists()
    before = shards(root)
    assert len(before) > len(early)
    twice = [name for name in early if early[name] != before[name]]
    assert len(twice) <= 1  # in work on the worker that died
    with start(port) as client:
        said, _ = client.communicate(timeout=60)
    assert client.returncode == 0, said
    assert content(root) == content(undisturbed.root)
    after = shards(root)
    twice = [name for name in before if before[name] != after[name]]
    assert len(twice) <= 2  # in work on the two workers left
    assert check_study(Study(root)).problems == ()
