"""Faults that a run may meet, done to a real one, and what it leaves on disk.

Each fault is a function of a `Scene`: it starts the run, does its damage at a random
moment, waits for the processes to end, and undoes what only an operator could (a full
disk, a lost file), so that the caller can run the same line again.
"""

import contextlib
import dataclasses
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pathjax.train.checkpoint import committed_steps
from pathjax.train.seal import damage

# Far more than any run takes, on a busy machine; what it guards against is a hang.
HANG_SECONDS = 400
# Of a ram disk that a run's folder lies on: room for many of its checkpoints.
DISK_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (None: it hung), and all that it printed."""

    status: int | None
    text: str


@dataclasses.dataclass
class Scene:
    """One trial.

    Attributes:
      study: a copy that may be damaged.
      command: words of `pathjax`, without --workdir.
      workdir: the run's folder.
      environment: of its processes.
      startup, training: seconds of an undisturbed run before and after its first line
        of metrics.
      choose: where chance comes from.
      logs: folder for what the processes print.
      told: what was done, for the record.
    """

    study: Path
    command: list[str]
    workdir: Path
    environment: dict[str, str]
    startup: float
    training: float
    choose: random.Random
    logs: Path
    told: dict = dataclasses.field(default_factory=dict)
    launches: int = 0

    @contextlib.contextmanager
    def running(self, processes: int = 1) -> Iterator[list[subprocess.Popen]]:
        """The run's processes; killed at the end of the block if they are left."""
        words = [*self.command, f"--workdir={self.workdir}"]
        together: list[list[str]] = [[]]
        if processes > 1:
            with socket.socket() as listener:
                listener.bind(("localhost", 0))
                address = f"localhost:{listener.getsockname()[1]}"
            together = [
                ["--coordinator", address, "--processes", str(processes)]
                + ["--process", str(number)]
                for number in range(processes)
            ]
        self.launches += 1
        running = []
        try:
            for number, more in enumerate(together):
                with self._log(number).open("wb") as log:
                    process = subprocess.Popen(
                        [sys.executable, "-m", "pathjax", *words, *more],
                        env=self.environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                running.append(process)
            yield running
        finally:
            for process in running:
                process.kill()
                process.wait()

    def _log(self, number: int) -> Path:
        self.logs.mkdir(exist_ok=True)
        return self.logs / f"launch_{self.launches}_process_{number}.log"

    def end(self, processes: list[subprocess.Popen]) -> list[Ended]:
        """Waits for all of them."""
        until = time.monotonic() + HANG_SECONDS
        found = []
        for number, process in enumerate(processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(until - time.monotonic(), 0.1))
            text = self._log(number).read_text(errors="replace")
            found.append(Ended(process.returncode, text))
        return found

    def wait_for_a_moment(self, processes: list[subprocess.Popen]) -> None:
        """Sleeps until a random moment: one in four while the run is starting."""
        if self.choose.random() < 0.25:
            moment = self.choose.uniform(0, self.startup)
            self.told["after"] = f"{moment:.2f} s from its start"
        else:
            moment = self.choose.uniform(0, self.training)
            self.told["after"] = f"{moment:.2f} s from its first metrics"
            metrics = self.workdir / "metrics.jsonl"
            while not (metrics.exists() and metrics.stat().st_size):
                if all(one.poll() is not None for one in processes):
                    return
                time.sleep(0.01)
        until = time.monotonic() + moment
        while time.monotonic() < until and processes[0].poll() is None:
            time.sleep(0.01)

    def whole(self) -> list[int]:
        """Steps of the whole checkpoints, newest first."""
        folder = self.workdir / "checkpoints"
        return [s for s in committed_steps(folder) if damage(folder / str(s)) is None]


def kill(scene: Scene) -> list[Ended]:
    """kill -9."""
    with scene.running() as processes:
        scene.wait_for_a_moment(processes)
        processes[0].kill()
        return scene.end(processes)


def terminate(scene: Scene) -> list[Ended]:
    """SIGTERM; half of the time a second one follows while the run is saving."""
    with scene.running() as processes:
        scene.wait_for_a_moment(processes)
        processes[0].terminate()
        if scene.choose.random() < 0.5:
            scene.told["signals"] = 2
            time.sleep(scene.choose.uniform(0, 0.3))
            processes[0].terminate()
        return scene.end(processes)


def kill_one_of_two(scene: Scene) -> list[Ended]:
    """kill -9 of one process of two."""
    return _signal_one(scene, signal.SIGKILL)


def terminate_one_of_two(scene: Scene) -> list[Ended]:
    """SIGTERM to one process of two."""
    return _signal_one(scene, signal.SIGTERM)


def _signal_one(scene: Scene, number: int) -> list[Ended]:
    which = scene.choose.randrange(2)
    scene.told["process"] = which
    with scene.running(2) as processes:
        scene.wait_for_a_moment(processes)
        processes[which].send_signal(number)
        return scene.end(processes)


def damage_newest(scene: Scene) -> list[Ended]:
    """A file of the newest checkpoint cut short, gone, or with one bit flipped.

    The run is killed after its first checkpoint, and the file damaged before it is run
    again. With no checkpoint to fall back on it has to refuse by a named error; the
    operator then removes the folder.
    """
    with scene.running() as processes:
        while not scene.whole() and processes[0].poll() is None:
            time.sleep(0.02)
        scene.wait_for_a_moment(processes)
        processes[0].kill()
        scene.end(processes)
    whole = scene.whole()
    newest = scene.workdir / "checkpoints" / str(whole[0])
    files = sorted(p for p in newest.rglob("*") if p.is_file() and p.stat().st_size)
    # Large files are as likely as small ones by number, so take some by their bytes.
    by_bytes = scene.choose.random() < 0.5
    weights = [p.stat().st_size if by_bytes else 1 for p in files]
    file = scene.choose.choices(files, weights)[0]
    data = bytearray(file.read_bytes())
    how = scene.choose.choice(("cut short", "gone", "one bit flipped"))
    if how == "gone":
        file.unlink()
    elif how == "cut short":
        file.write_bytes(data[: scene.choose.randrange(len(data))])
    else:
        data[scene.choose.randrange(len(data))] ^= 1 << scene.choose.randrange(8)
        file.write_bytes(data)
    scene.told |= {
        "file": file.relative_to(newest).as_posix(),
        "how": how,
        "damaged": whole[0],
        "before_it": whole[1:],
    }
    if len(whole) > 1:
        return []  # the caller runs the line again and looks for the warning
    with scene.running() as processes:
        found = scene.end(processes)
    if found[0].status == 1:
        shutil.rmtree(scene.workdir / "checkpoints")
    return found


def fill_disk(scene: Scene) -> list[Ended]:
    """A disk that fills up: a small ram disk, or a limit on files' sizes without root.

    When the run has ended there is room again.
    """
    with scene.running() as processes:
        scene.wait_for_a_moment(processes)
        left = scene.choose.randrange(64 << 10)
        scene.told["bytes_left"] = left
        ballast = scene.workdir / "ballast"
        if os.path.ismount(scene.workdir):
            room = max(shutil.disk_usage(scene.workdir).free - left, 0)
            # Writing, unlike truncating, takes the room. The run writes meanwhile.
            with contextlib.suppress(OSError), ballast.open("wb") as file:
                file.write(bytes(room))
        else:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(processes[0].pid, resource.RLIMIT_FSIZE, (left, left))
        found = scene.end(processes)
        ballast.unlink(missing_ok=True)
    return found


def remove_shard(scene: Scene) -> list[Ended]:
    """A data shard that vanishes; half of the time the run is killed then, too.

    The line is run again without the shard, which has to be a named error, and the
    shard is put back.
    """
    shards = sorted((scene.study / "tiles").glob("*.array_record"))
    shard = scene.choose.choice(shards)
    away = shard.with_suffix(".away")
    scene.told["shard"] = shard.name
    with scene.running() as processes:
        scene.wait_for_a_moment(processes)
        shard.rename(away)
        if scene.choose.random() < 0.5:
            processes[0].kill()
            scene.end(processes)
        else:
            found = scene.end(processes)
            if found[0].status == 1:
                away.rename(shard)
                return found
    with scene.running() as processes:
        found = scene.end(processes)
    away.rename(shard)
    return found


@contextlib.contextmanager
def ram_disk(folder: Path) -> Iterator[bool]:
    """A small ram disk on `folder`, where the system lets us; says whether it did."""
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = not subprocess.run(words, check=False, capture_output=True).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


# What a named error of each kind says.
NAMED = {
    "kill -9 of one of two processes": "process",
    "SIGTERM to one of two processes": "process",
    "damaged checkpoint file": "none of the checkpoints in .* is whole",
    "full disk": "could not be written|no space is left",
    "data shard removed": "array_record|shard",
}
KINDS: dict[str, Callable[[Scene], list[Ended]]] = {
    "kill -9": kill,
    "SIGTERM": terminate,
    "kill -9 of one of two processes": kill_one_of_two,
    "SIGTERM to one of two processes": terminate_one_of_two,
    "damaged checkpoint file": damage_newest,
    "full disk": fill_disk,
    "data shard removed": remove_shard,
}
TWO_PROCESSES = ("kill -9 of one of two processes", "SIGTERM to one of two processes")
