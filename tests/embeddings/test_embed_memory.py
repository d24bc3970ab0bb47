"""The memory of `pathjax embed` does not grow with the tiles."""

import subprocess
import sys

import numpy as np
import pytest
from large_study import PX, TILES, make_run, make_study

from pathjax.data.study import sha256
from pathjax.embeddings.embedding_rows import EmbeddingRows

pytestmark = pytest.mark.slow
WIDTH = 24
# A child's own high-water mark, in KiB; this process has children of other tests too.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_a_million_tiles_take_no_more_than_a_hundred_thousand(tmp_path):
    """All rows are there: they are checked and copied, with ids and places."""
    make_run(tmp_path / "run")
    peaks = []
    for slides in (11, 110):
        study = make_study(tmp_path / str(slides), slides)
        identity = {
            "model": f"sha256:{sha256(tmp_path / 'run' / 'model.safetensors')}",
            "input": study.fingerprint,
            "pool": "cls",
            "preprocess": {"crop": PX},
        }
        out = tmp_path / f"{slides}.h5"
        folder = out.with_name(f"{out.name}.partial")
        with EmbeddingRows(folder, identity, WIDTH) as rows:
            zeros = np.zeros((TILES, WIDTH), np.float32)
            for _ in range(slides):
                rows.append(zeros, tiles=TILES, skipped=[], sizes=set())
        words = ["embed", tmp_path / "run", study.root, "--out", out]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, sys.executable, "-m", "pathjax", *words],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (
            f"{slides * TILES} of {slides * TILES} tiles by an earlier" in done.stdout
        )
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < peaks[0] + 64 * 1024, peaks
