"""Disturbs a small training run in seven ways, at random moments, and resumes it.

    python tests/reliability.py --faults 50 --seed 0 --out docs/data/reliability.json

Each trial starts a run of its own, does it one of the faults of `faults.py`, runs the
same command again to its end, and compares parameters and metrics bit for bit with an
undisturbed run's. It fails when they differ, when a process ended otherwise than by the
signal, by its exit status for a preemption or by a named error, when one hung, or when
the second run did not go on from the newest whole checkpoint. Exits with 1 if any did.
"""

import argparse
import collections
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from faults import KINDS, NAMED, TWO_PROCESSES, Ended, Scene, ram_disk
from safetensors.numpy import load_file
from tiny_study import build_tiny_study

from pathjax.parallel.preemption import EXIT_PREEMPTED
from pathjax.train.telemetry.metric_writer import read_metrics

CONFIG = """
from pathjax.config import base_config

def get_config(arg=None):
    config = base_config()
    config.study, config.split = {study!r}, "main"
    config.val_fold = "val"
    config.data.update(dict(batch=4, tiles=2, image_px=24, genes=10, stain=0.1))
    config.model.update(dict(variant="Xs/8", depth=2, drop_path=0.1))
    config.objective.name = "contrastive"
    config.optim.update(dict(steps={steps}, warmup=5))
    config.checkpoint.every = 5
    config.eval.every = 10
    config.log.every = 1
    return config
"""


def metrics(workdir: Path) -> list[dict]:
    """Lines of metrics, the times aside."""
    return [
        {k: v for k, v in row.items() if k != "time" and not k.startswith("time/")}
        for row in read_metrics(workdir / "metrics.jsonl")
    ]


def differences(one: Path, two: Path) -> list[str]:
    """What differs between two finished runs; empty when they are equal bit for bit."""
    a, b = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    found = sorted(set(a) ^ set(b))
    found += [k for k in a if k in b and a[k].tobytes() != b[k].tobytes()]
    if metrics(one) != metrics(two):
        found.append("metrics.jsonl")
    return found


def went_on_from(workdir: Path, begun: float) -> int:
    """Step of the last line that is older than the second run's beginning."""
    rows = read_metrics(workdir / "metrics.jsonl")
    return max((row["step"] for row in rows if row["time"] < begun), default=0)


def outcome(one: Ended, kind: str) -> str | None:
    """How a process ended, if it is one of the ways that it may."""
    if one.status == 0:
        return "finished"
    if one.status == EXIT_PREEMPTED and "stopped at step" in one.text:
        return "saved and stopped"
    if one.status == EXIT_PREEMPTED and kind in TWO_PROCESSES:
        # Or JAX aborted it, since its coordinator is gone, and the supervisor says so.
        named = re.search(NAMED.get(kind, "$^"), last_words(one))
        return "a process was lost" if named else None
    if one.status == -signal.SIGKILL:
        return "killed"
    if one.status in (-signal.SIGTERM, 128 + signal.SIGTERM):  # 128 by a supervisor
        return "ended by SIGTERM"  # while Python was starting, or after the run
    if one.status == 1 and re.search(NAMED.get(kind, "$^"), last_words(one)):
        return "named error"
    return None


def last_words(one: Ended) -> str:
    """The line by which the command line names an error, or else the end of it all."""
    lines = [line for line in one.text.splitlines() if line.startswith("pathjax: ")]
    return lines[-1][:500] if lines else one.text[-500:]


class Stage:
    """The undisturbed runs that all trials are compared with."""

    def __init__(self, root: Path, steps: int, two: bool):
        self.root = root
        self.steps = steps
        self.study = build_tiny_study(root / "study").root
        self.environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(root / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PATHJAX_START_SECONDS": "120",
            "PATHJAX_SILENCE_SECONDS": "30",
        }
        self.seconds = {}
        for processes in (1, 2) if two else (1,):
            # It fills the compilation cache, too: a program that comes from there has
            # to give the same bits.
            scene = self.scene(f"whole-{processes}", self.study, random.Random())
            self.seconds[processes] = self._time(scene, processes)

    def scene(self, name: str, study: Path, choose: random.Random) -> Scene:
        folder = self.root / name
        folder.mkdir()
        config = folder / "small.py"
        config.write_text(CONFIG.format(study=str(study), steps=self.steps))
        seconds = self.seconds.get(2 if "two" in name else 1, (0.0, 0.0))
        return Scene(
            study,
            ["train", f"--config={config}"],
            folder / "run",
            self.environment,
            *seconds,
            choose,
            folder / "logs",
        )

    def _time(self, scene: Scene, processes: int) -> tuple[float, float]:
        begun = time.time()
        with scene.running(processes) as running:
            found = scene.end(running)
        if any(one.status for one in found):
            raise RuntimeError(f"an undisturbed run failed:\n{found[0].text}")
        first = read_metrics(scene.workdir / "metrics.jsonl")[0]["time"]
        return first - begun, time.time() - first

    def trial(self, number: int, kind: str, choose: random.Random) -> dict:
        """One fault and its sequel; `wrong` lists what should not have been."""
        processes = 2 if kind in TWO_PROCESSES else 1
        for attempt in range(5):
            name = f"trial-{number}-{attempt}" + ("-two" if processes == 2 else "")
            entry = self._attempt(name, kind, processes, choose)
            if entry["ended"] != ["finished"] * processes:
                break  # else it had finished before the fault came
        return entry

    def _attempt(self, name, kind, processes, choose) -> dict:
        study = self.root / f"{name}-study"
        shutil.copytree(self.study, study)
        scene = self.scene(name, study, choose)
        wrong: list[str] = []
        entry = {"kind": kind, "told": scene.told, "wrong": wrong}
        if kind == "full disk":
            with ram_disk(scene.workdir) as mounted:
                scene.told["ram_disk"] = mounted
                self._play(scene, kind, processes, entry)
        else:
            self._play(scene, kind, processes, entry)
        shutil.rmtree(study)
        if not wrong:
            shutil.rmtree(self.root / name, ignore_errors=True)
        return entry

    def _play(self, scene: Scene, kind: str, processes: int, entry: dict) -> None:
        wrong = entry["wrong"]
        found = KINDS[kind](scene)
        ends = [outcome(one, kind) for one in found]
        entry["ended"] = [
            end or f"status {found[i].status}" for i, end in enumerate(ends)
        ]
        wrong += [
            last_words(one) for one, end in zip(found, ends, strict=True) if end is None
        ]
        if "named error" in ends:
            entry["errors"] = [
                last_words(one)
                for one, end in zip(found, ends, strict=True)
                if end == "named error"
            ]
        whole = scene.whole()
        entry["newest_whole"] = whole[0] if whole else 0
        begun = time.time()
        with scene.running(processes) as running:
            again = scene.end(running)
        wrong += [last_words(one) for one in again if one.status]
        if any(one.status for one in again):
            return
        entry["went_on_from"] = went_on_from(scene.workdir, begun)
        if entry["went_on_from"] < entry["newest_whole"]:
            wrong.append("a whole checkpoint was not used")
        if "damaged" in scene.told and whole and whole[0] < scene.told["damaged"]:
            said = f"checkpoint {scene.told['damaged']}" in again[0].text
            entry["warned"] = said and "is damaged" in again[0].text
            if not entry["warned"]:
                wrong.append("no warning names the damaged checkpoint")
        wrong += differences(self.root / f"whole-{processes}" / "run", scene.workdir)


def trials(
    root: Path, kinds: list[str], seed: int = 0, jobs: int = 1, steps: int = 40
) -> dict:
    """Runs one trial of each of `kinds`, so many at a time; returns their record."""
    stage = Stage(root, steps, two=any(kind in TWO_PROCESSES for kind in kinds))

    def one(number: int) -> dict:
        entry = stage.trial(number, kinds[number], random.Random(f"{seed}/{number}"))
        print(json.dumps(entry), flush=True)
        return entry

    with ThreadPoolExecutor(jobs) as pool:
        record = list(pool.map(one, range(len(kinds))))
    rows = load_file(root / "whole-1" / "run" / "model.safetensors").values()
    counts = collections.Counter(entry["kind"] for entry in record)
    ends = collections.Counter(end for entry in record for end in entry["ended"])
    return {
        "seed": seed,
        "jax": jax.__version__,
        "python": sys.version.split()[0],
        "seconds_undisturbed": {
            str(n): [round(one, 2) for one in pair] for n, pair in stage.seconds.items()
        },
        "steps": steps,
        "parameter_bytes": sum(value.nbytes for value in rows),
        "faults": len(record),
        "by_kind": dict(counts),
        "ends_of_processes": dict(ends),
        "wrong": sum(bool(entry["wrong"]) for entry in record),
        "trials": record,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40, help="of each run")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time")
    parser.add_argument("--kind", choices=sorted(KINDS), help="only this one")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--keep", type=Path, help="folder to leave everything in")
    args = parser.parse_args()
    names = [args.kind] if args.kind else list(KINDS)
    kinds = [names[i % len(names)] for i in range(args.faults)]
    options = {"seed": args.seed, "jobs": args.jobs, "steps": args.steps}
    if args.keep:
        args.keep.mkdir(parents=True)
        record = trials(args.keep, kinds, **options)
    else:
        with tempfile.TemporaryDirectory() as root:
            record = trials(Path(root), kinds, **options)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{record['faults']} faults, {record['wrong']} went wrong")
    return 1 if record["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
