"""The memory of `embed`, `evaluate` and `predict` does not grow with the tiles."""

import json
import subprocess
import sys

import anndata
import numpy as np
import pytest
from large_study import TILES, embed_rows, make_run, make_study, prepare_evaluation
from PIL import Image

from pathjax.data.study import sha256

pytestmark = pytest.mark.slow
# A child's own high-water mark, in KiB; this process has children of other tests too.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def run(*words) -> tuple[str, int]:
    """What a command printed, and the most memory that it took, in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, sys.executable, "-m", "pathjax", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, int(done.stdout.split()[-1])


def test_patients_of_a_million_tiles_are_probed_in_the_same_memory(tmp_path):
    """Pooling and a probe of patients: without a table of tiles in memory."""
    make_run(tmp_path / "run")
    peaks = []
    for slides in (11, 110):
        study = make_study(tmp_path / str(slides), slides, of_a_patient=1)
        out = tmp_path / f"out{slides}"
        prepare_evaluation(out, study, tmp_path / "run")
        words = ["evaluate", f"model={tmp_path / 'run'}", "--study", study.root]
        peaks.append(run(*words, "--tasks", out / "tasks.json", "--out", out)[1])
        (entry,) = json.loads((out / "results.json").read_text())["entries"]
        assert entry["value"] == 1.0 and entry["n"] == slides // 2
    rows = 8 * 99 * TILES / 1024
    assert peaks[1] < peaks[0] + 3 * rows + 64 * 1024, peaks


def test_a_million_tiles_are_predicted_in_the_same_memory(tmp_path):
    """Slides have pictures: mosaics of their tiles would take most of the time."""
    make_run(tmp_path / "run")
    (tmp_path / "pictures").mkdir()
    for slide in range(50):
        path = tmp_path / "pictures" / f"S{slide:05d}.png"
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    peaks = []
    for slides in (11, 110):
        study = make_study(tmp_path / str(slides), slides)
        out = tmp_path / f"out{slides}"
        prepare_evaluation(out, study, tmp_path / "run")
        words = ["predict", tmp_path / "run", study.root, "--out", out]
        peaks.append(run(*words, "--pictures", tmp_path / "pictures")[1])
        got = anndata.read_h5ad(out / "predicted.h5ad", backed="r")
        assert got.shape == (slides * TILES, 6)
        assert got.obs_names[-1] == study.tile_id(len(study) - 1)
    assert peaks[1] < peaks[0] + 128 * 1024, peaks


def test_a_million_tiles_take_no_more_than_a_hundred_thousand(tmp_path):
    """All rows are there: they are checked and copied, with ids and places."""
    make_run(tmp_path / "run")
    peaks = []
    for slides in (11, 110):
        study = make_study(tmp_path / str(slides), slides)
        out = tmp_path / f"{slides}.h5"
        embed_rows(
            *(out, study),
            f"sha256:{sha256(tmp_path / 'run' / 'model.safetensors')}",
        )
        words = ["embed", tmp_path / "run", study.root, "--out", out]
        said, peak = run(*words)
        assert f"{slides * TILES} of {slides * TILES} tiles by an earlier" in said
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 64 * 1024, peaks
