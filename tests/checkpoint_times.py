"""What comparing a checkpoint with its digests adds to reading it.

    python tests/checkpoint_times.py FOLDER [--gb 4] [--rounds 3]

Makes FOLDER/checkpoints with a state of random numbers, which do not compress, and reads
it by turns: `read` is Orbax alone, `resume` opens the folder and compares all files, and
`one after the other` reads when all are compared. Once with the files dropped from the
page cache before ("cold"), once with them in it ("warm"). Prints JSON; seconds are
medians, of the clock and of the processor, which count on a busy machine. Needs twice the
state in memory.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from pathjax.parallel.mesh import make_mesh, state_sharding
from pathjax.train.checkpoint import Checkpoints
from pathjax.train.seal import damage
from pathjax.train.state import TrainState, abstract_state

LEAF = 1 << 24  # numbers in one array


def make_state(gigabytes: float) -> TrainState:
    count = max(2, round(gigabytes * 1e9 / 4 / LEAF))
    draw = jax.jit(lambda key: jax.random.normal(key, (LEAF >> 12, 1 << 12)))
    leaves = {str(i): draw(jax.random.key(i)) for i in range(count)}
    state = TrainState(jnp.int32(1), leaves, {}, {}, ())
    return jax.device_put(state, state_sharding(make_mesh(), state))


def drop(folder: Path) -> None:
    """Takes files out of the page cache; needs no rights."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(folder: Path, like: TrainState) -> None:
    with Checkpoints(folder, 1) as checkpoints:
        jax.block_until_ready(checkpoints.restore(1, like))


def resume(folder: Path, like: TrainState) -> None:
    with Checkpoints(folder, 1) as checkpoints:
        found = checkpoints.resume(like)
        assert found and found[0] == 1
        jax.block_until_ready(found[1])


def one_after_the_other(folder: Path, like: TrainState) -> None:
    assert damage(folder / "1") is None
    read(folder, like)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gb", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    folder = args.folder / "checkpoints"
    state = make_state(args.gb)
    like = abstract_state(state)
    with Checkpoints(folder, 1) as checkpoints:
        if checkpoints.latest() is None:
            checkpoints.save(1, state, {})
    del state
    files = [path for path in (folder / "1").rglob("*") if path.is_file()]
    ways = (read, resume, one_after_the_other)
    times: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for cache in ("cold", "warm"):
            for way in ways:
                if cache == "cold":
                    drop(folder)
                begun, processor = time.perf_counter(), time.process_time()
                way(folder, like)
                name = f"{cache} {way.__name__.replace('_', ' ')}"
                times.setdefault(name, []).append(time.perf_counter() - begun)
                spent.setdefault(name, []).append(time.process_time() - processor)
                print(name, round(times[name][-1], 2), file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in times.items()}
    found = {
        "gigabytes": round(sum(path.stat().st_size for path in files) / 1e9, 2),
        "files": len(files),
        "cores": len(os.sched_getaffinity(0)),
        "seconds": {name: round(value, 2) for name, value in medians.items()},
        "processor seconds": {
            name: round(statistics.median(values), 2) for name, values in spent.items()
        },
        "resume over read": {
            cache: round(medians[f"{cache} resume"] / medians[f"{cache} read"], 3)
            for cache in ("cold", "warm")
        },
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
