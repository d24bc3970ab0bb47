"""Peak memory of scoring a task: `python -m pathjax.bench.probe_memory`.

    made study + FILE.h5 -> a fresh process: read, run_task -> its peak resident size

What counts is the process's largest resident size less what it held with everything
imported and one small task run, as a multiple of the embeddings. Tiles are one byte
each: nothing is decoded. The embeddings are read from the file, as `pathjax evaluate`
reads them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.study import Split, Study, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.embeddings.embedding_file import open_embeddings, write_embeddings
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task

CLASSES, PATIENTS = 9, 50


def made(root: Path, tiles: int, width: int) -> Path:
    """A study of one shard, nine tenths of it to learn from, and its embeddings."""
    rng = np.random.default_rng(0)
    writer = StudyWriter(
        root / "study",
        name="made",
        tile_px=1,
        mpp=1.0,
        gene_id_type=None,
        synthetic=True,
        provenance={"source": "pathjax.bench.probe_memory"},
        build={"tiles": tiles},
    )
    kind = rng.integers(0, CLASSES, tiles)
    with writer.shard("all") as shard:
        for tile in range(tiles):
            patient = f"P{tile % PATIENTS:02d}"
            shard.add(
                b"x",
                tile_id=str(tile),
                sample_id=patient,
                patient_id=patient,
                site="made",
                x=0,
                y=0,
                mpp=1.0,
                kind=f"class{kind[tile]}",
            )
    patients = [f"P{number:02d}" for number in range(PATIENTS)]
    study = writer.finish(
        samples=pd.DataFrame(
            {"sample_id": patients, "patient_id": patients, "site": "made"}
        ),
        targets=[
            Target("kind", "tile", "class", tuple(f"class{i}" for i in range(CLASSES)))
        ],
        splits=[
            Split("made", {"fit": tuple(patients[5:]), "test": tuple(patients[:5])})
        ],
    )
    centres = rng.normal(size=(CLASSES, width)).astype(np.float32) / 8
    features = rng.normal(size=(tiles, width)).astype(np.float32) + centres[kind]
    write_embeddings(root / "features.h5", study, features, {"model": "made"})
    return root


def peak() -> int:
    """Largest resident size of this process so far, in bytes (Linux).

    Not getrusage's: that begins with the size of the process it was forked from.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = [one for one in status.splitlines() if one.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def score(root: Path, protocol: str) -> int:
    study = Study(root / "study")
    task = Task("made", "made", "kind", "classification", "made", "fit", "test",
                level="tile", protocol=protocol)  # fmt: skip
    features = open_embeddings(root / "features.h5", study)
    outcome = run_task(task, study, features)
    print(f"{protocol}: {outcome.value:.3f} of {outcome.n}", file=sys.stderr)
    return 4 * features.shape[0] * features.shape[1]


def worker(small: Path, large: Path, protocol: str) -> None:
    score(small, protocol)
    before = peak()
    size = score(large, protocol)
    print(json.dumps({"before": before, "peak": peak(), "embeddings": size}))


def measure(tiles: int, width: int, protocols: list[str]) -> dict[str, dict]:
    """Bytes by protocol, and `times`: what was added, in embeddings."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as name:
        small = made(Path(name) / "small", 2_000, width)
        large = made(Path(name) / "large", tiles, width)
        for protocol in protocols:
            words = [sys.executable, "-m", __spec__.name, "--worker"]
            words += [str(small), str(large), protocol]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
            entry = json.loads(done.stdout)
            added = entry["peak"] - entry["before"]
            found[protocol] = entry | {"times": added / entry["embeddings"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1024)
    tile_protocols = [
        name
        for name, one in PROTOCOLS.items()
        if one.probe in ("eva_linear", "logistic", "knn", "uni_logreg")
    ]
    parser.add_argument("--protocols", nargs="+", default=tile_protocols)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(Path(args.worker[0]), Path(args.worker[1]), args.worker[2])
        return
    for name, one in measure(args.tiles, args.width, args.protocols).items():
        print(
            f"{name}: {one['times']:.2f} times the embeddings "
            f"({one['embeddings'] / 2**20:.0f} MiB), peak {one['peak'] / 2**20:.0f} MiB"
        )


if __name__ == "__main__":
    main()
