"""Kills a small training run with SIGKILL at random moments and resumes it.

    python tests/reliability.py --kills 20 --json docs/data/reliability.json

Each trial starts a run of its own, kills it after a random share of the undisturbed
run's time, runs the same command again to its end and compares parameters and metrics
bit for bit with the undisturbed run's. Exits with 1 if any differs.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tiny_study import build_tiny_study

CONFIG = """
from pathjax.config import base_config

def get_config(arg=None):
    config = base_config()
    config.study, config.split = {study!r}, "main"
    config.val_fold = "val"
    config.data.update(dict(batch=4, tiles=2, image_px=24, genes=10, stain=0.1))
    config.model.update(dict(variant="Xs/8", depth=2, drop_path=0.1))
    config.objective.name = "contrastive"
    config.optim.update(dict(steps=60, warmup=5))
    config.checkpoint.every = 5
    config.eval.every = 10
    config.log.every = 1
    return config
"""


def command(config: Path, workdir: Path) -> list[str]:
    return [sys.executable, "-m", "pathjax", "train", f"--config={config}",
            f"--workdir={workdir}"]  # fmt: skip


def run(config: Path, workdir: Path, environment: dict, kill_after: float | None):
    """Runs to the end, or kills after so many seconds; returns seconds and status."""
    begun = time.monotonic()
    process = subprocess.Popen(
        command(config, workdir),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return time.monotonic() - begun, -signal.SIGKILL
    if process.returncode:
        raise RuntimeError(f"the run failed:\n{errors.decode()}")
    return time.monotonic() - begun, 0


def metrics(workdir: Path) -> list[dict]:
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(r).items() if k != "time"} for r in rows]


def differences(one: Path, two: Path) -> list[str]:
    """What differs between two finished runs; empty when they are equal bit for bit."""
    a, b = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    found = sorted(set(a) ^ set(b))
    found += [k for k in a if k in b and a[k].tobytes() != b[k].tobytes()]
    if metrics(one) != metrics(two):
        found.append("metrics.jsonl")
    return found


def last_step(workdir: Path) -> int:
    """The newest whole checkpoint, 0 when there is none."""
    folder = workdir / "checkpoints"
    names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0)


def trials(root: Path, kills: int, seed: int = 0) -> dict:
    """Runs the trials and returns their record."""
    study = build_tiny_study(root / "study")
    config = root / "small.py"
    config.write_text(CONFIG.format(study=str(study.root)))
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(root / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    run(config, root / "warm", environment, None)  # fills the compilation cache
    seconds, _ = run(config, root / "whole", environment, None)
    choose = random.Random(seed)
    record = []
    for trial in range(kills):
        workdir = root / f"killed-{trial}"
        moment = choose.uniform(0.0, seconds)
        _, status = run(config, workdir, environment, moment)
        at = last_step(workdir)
        run(config, workdir, environment, None)
        entry = {
            "after_seconds": round(moment, 2),
            "killed": status != 0,
            "checkpoint": at,
            "differences": differences(root / "whole", workdir),
        }
        record.append(entry)
        print(json.dumps(entry), flush=True)
    steps = [row["step"] for row in metrics(root / "whole")]
    size = sum(np.asarray(v).nbytes for v in load_file(
        root / "whole" / "model.safetensors").values())  # fmt: skip
    return {
        "undisturbed_seconds": round(seconds, 2),
        "steps": max(steps),
        "parameter_bytes": size,
        "trials": record,
        "killed": sum(entry["killed"] for entry in record),
        "different": sum(bool(entry["differences"]) for entry in record),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        record = trials(Path(root), args.kills, args.seed)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{record['killed']} killed, {record['different']} differ")
    return 1 if record["different"] or record["killed"] < args.kills else 0


if __name__ == "__main__":
    sys.exit(main())
